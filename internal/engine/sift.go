// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/staticroutes"
)

// The Controller takes a VRF context or refuses it as a whole, and rarely says which route it doesn't like. These bound the writes of one
// run that look for the culprits: at first, and later, when only routes are left that were refused before.
const (
	siftWrites      = 40
	siftAgainWrites = 4
)

// refusal is a route that the Controller wouldn't take.
type refusal struct {
	prefix netip.Prefix
	hop    netip.Addr
}

func refusalOf(s staticroutes.Step) refusal { return refusal{s.Prefix, s.To} }

// sift writes what the Controller takes of a plan that it refuses as a whole.
type sift struct {
	// write brings the VRF context in step but for the routes that are held, and returns what was done.
	write func(held map[netip.Prefix]string) ([]staticroutes.Step, error)
	left  int // writes

	all     []staticroutes.Step     // the routes that are in question
	refused map[netip.Prefix]string // those found, or not tried, and why
	steps   []staticroutes.Step     // done
	err     error                   // of another kind than a refusal: the rest waits
}

// refuses reports whether an error is the Controller's word that it won't have what it is sent.
func refuses(err error) bool {
	var e *avi.Error
	return errors.As(err, &e) && e.Class == avi.Terminal && (e.Reason == avi.ReasonInvalid || e.Reason == avi.ReasonRefNotFound)
}

// questioned are the steps of a plan that send the Controller something new.
func questioned(steps []staticroutes.Step) []staticroutes.Step {
	return slices.DeleteFunc(slices.Clone(steps), func(s staticroutes.Step) bool { return s.Op == staticroutes.Remove })
}

// place writes some of the routes in question.
func (s *sift) place(some []staticroutes.Step) {
	if len(some) == 0 || s.err != nil {
		return
	}
	if s.left == 0 {
		for _, c := range some {
			s.refused[c.Prefix] = "the Controller refuses routes of the VRF context, and this one wasn't tried by itself yet"
		}
		return
	}
	s.left--
	steps, err := s.write(s.without(some))
	switch {
	case err == nil:
		s.steps = append(s.steps, steps...)
	case !refuses(err):
		s.err = err
	default:
		s.split(some, err)
	}
}

// split looks among routes that were refused together for those that may stay: it writes them in parts.
func (s *sift) split(some []staticroutes.Step, err error) {
	switch len(some) {
	case 0:
	case 1:
		s.refused[some[0].Prefix] = "the Controller refused the route: " + answer(err)
	default:
		if i := mentioned(some, answer(err)); i >= 0 {
			s.refused[some[i].Prefix] = "the Controller refused the route: " + answer(err)
			s.place(slices.Delete(slices.Clone(some), i, i+1))
			return
		}
		s.place(some[:len(some)/2])
		s.place(some[len(some)/2:])
	}
}

// without are the routes in question but for some, with the refused ones.
func (s *sift) without(some []staticroutes.Step) map[netip.Prefix]string {
	held := make(map[netip.Prefix]string, len(s.all))
	for _, c := range s.all {
		held[c.Prefix] = "it waits for others"
	}
	maps.Copy(held, s.refused)
	for _, c := range some {
		delete(held, c.Prefix)
	}
	return held
}

// mentioned is the only route that a message names by its id or prefix, -1 if there isn't just one.
func mentioned(some []staticroutes.Step, message string) int {
	found := -1
	words := strings.FieldsFunc(message, func(r rune) bool { return strings.ContainsRune(" \t\"'`,;:()[]{}=", r) })
	for i, c := range some {
		if !slices.Contains(words, c.ID) && !slices.Contains(words, c.Prefix.String()) && !slices.Contains(words, c.Prefix.Addr().String()) {
			continue
		}
		if found >= 0 {
			return -1
		}
		found = i
	}
	return found
}

// answer is what the Controller itself said.
func answer(err error) string {
	var e *avi.Error
	if errors.As(err, &e) && e.Message != "" {
		return e.Message
	}
	return fmt.Sprint(err)
}
