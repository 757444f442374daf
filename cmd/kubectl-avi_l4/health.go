// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// operUp is the Controller's word for what serves.
const operUp = "OPER_UP"

// state is what the Controller says of one of its objects.
type state struct {
	Name   string `json:"name"`
	State  string `json:"state"`
	Reason string `json:"reason"`
}

// serverStates is the operator's answer, as far as it is shown.
type serverStates struct {
	Controller      string  `json:"controller"`
	VirtualServices []state `json:"virtualServices"`
	Pools           []struct {
		state
		Problem string `json:"problem"`
		Servers []struct {
			Address string `json:"address"`
			Port    int    `json:"port"`
			state
		} `json:"servers"`
	} `json:"pools"`
	LeftOut int `json:"leftOut"`
}

// health has the operator ask the Controller about an object's servers, and makes a branch of the answer.
func (f *forest) health(at planning, o found) (*node, error) {
	if o.name != "Service" && o.name != "Gateway" {
		return nil, errors.New("the Controller knows no routes: with --health name a Service or a Gateway")
	}
	query := map[string]string{}
	if err := aimAt(o, query); err != nil {
		return nil, err
	}
	answer, err := f.ask(f.ctx, at, serversPath, query)
	if err != nil {
		return nil, err
	}
	var said serverStates
	if err := json.Unmarshal(answer, &said); err != nil {
		return nil, fmt.Errorf("reading the operator's answer: %w", err)
	}
	if said.LeftOut > 0 {
		f.say(fmt.Sprintf("the servers of %d pools: there are more than one answer has", said.LeftOut))
	}
	return said.node(), nil
}

func (s *serverStates) node() *node {
	n := &node{Kind: "Controller", Name: s.Controller}
	for _, vs := range s.VirtualServices {
		n.add(vs.node("VirtualService", vs.Name))
	}
	for _, p := range s.Pools {
		pool, up := p.node("Pool", p.Name), 0
		for _, server := range p.Servers {
			if server.State == operUp {
				up++
			}
			pool.add(server.node("Server", net.JoinHostPort(server.Address, strconv.Itoa(server.Port))))
		}
		pool.Text = fmt.Sprintf("%d of %d up", up, len(p.Servers))
		if p.Problem != "" {
			pool.Text, pool.Problem = "", p.Problem
		}
		n.add(pool)
	}
	if len(n.Children) == 0 {
		n.Problem = "it has nothing for this object"
	}
	return n
}

// node is in words what is up, and as a problem what is not.
func (s state) node(kind, name string) *node {
	n := &node{Kind: kind, Name: name}
	switch word := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(s.State, "OPER_"), "_", " ")); {
	case s.State == operUp:
		n.Text = word
	case s.State == "":
		n.Problem = "not in the inventory yet"
	case s.Reason != "":
		n.Problem = word + ": " + s.Reason
	default:
		n.Problem = word
	}
	return n
}
