// SPDX-License-Identifier: Apache-2.0

package control

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
)

// duration is a time.Duration as JSON writes it, "2s".
type duration time.Duration

func (d *duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("duration %s is not a string such as \"2s\"", b)
	}
	v, err := time.ParseDuration(s)
	*d = duration(v)
	return err
}

// world adds the calls that change service engines, states and addresses.
func world(mux *http.ServeMux, s *avisim.Server) {
	mux.HandleFunc("POST /service-engine", with(func(in struct {
		Name   string
		Up     bool
		Reason string
	}) error {
		if in.Up {
			return s.RecoverServiceEngine(in.Name)
		}
		return s.FailServiceEngine(in.Name, in.Reason)
	}))
	mux.HandleFunc("GET /forwarding", func(w http.ResponseWriter, _ *http.Request) { send(w, s.Forwarding()) })
	mux.HandleFunc("GET /traffic", func(w http.ResponseWriter, _ *http.Request) {
		if p := s.Plane(); p != nil {
			send(w, p.Status())
			return
		}
		http.Error(w, "no traffic is carried: start the simulator with --forward", http.StatusNotFound)
	})
	mux.HandleFunc("POST /switchover", with(func(in struct{ Tenant, Name string }) error { return s.Switchover(tenant(in.Tenant), in.Name) }))
	mux.HandleFunc("POST /oper-status", with(func(in struct{ Type, Tenant, Name, State, Reason string }) error {
		return s.SetOperStatus(in.Type, tenant(in.Tenant), in.Name, in.State, in.Reason)
	}))
	mux.HandleFunc("POST /ipam", with(func(in struct {
		Async, Quarantine, Slow, ChangeAfter duration
		OtherThanPreferred, Exhausted        bool
	}) error {
		s.SetIPAM(avisim.IPAM{Async: time.Duration(in.Async), Quarantine: time.Duration(in.Quarantine), Slow: time.Duration(in.Slow),
			ChangeAfter: time.Duration(in.ChangeAfter), OtherThanPreferred: in.OtherThanPreferred})
		s.SetIPAMExhausted(in.Exhausted)
		return nil
	}))
	mux.HandleFunc("POST /dynamics", with(func(in struct {
		PlacementDelay, Initialization duration
		Checks, Capacity               bool
	}) error {
		s.SetDynamics(avisim.Dynamics{PlacementDelay: time.Duration(in.PlacementDelay), Initialization: time.Duration(in.Initialization),
			Checks: in.Checks, Capacity: in.Capacity})
		return nil
	}))
}

func tenant(name string) string {
	if name == "" {
		return "admin"
	}
	return name
}
