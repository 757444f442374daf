// SPDX-License-Identifier: Apache-2.0

package avi

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync/atomic"
)

// fencedError is what the fence said of a write whose turn had come.
type fencedError struct{ error }

func (e fencedError) Unwrap() error { return e.error }

// fence is what a request has to pass, nil for one that changes no configuration.
func (ep *endpoint) fence(method, kind string) func() error {
	switch {
	case method == http.MethodGet, kind == "login", kind == "logout", kind == string(userToken):
		return nil
	}
	return ep.client.fence
}

// fenced is the error of a write that may not begin now.
func (ep *endpoint) fenced(method, kind string) error {
	check := ep.fence(method, kind)
	if check == nil {
		return nil
	}
	if err := check(); err != nil {
		return &Error{Method: method, Route: "/api/" + kind, Message: err.Error(), Class: Transient, Reason: ReasonNotLeader, cause: err}
	}
	return nil
}

// guardedConn asks once more before the first byte of a request: connecting may have taken long, and the process may have been
// stopped anywhere.
type guardedConn struct {
	net.Conn
	check atomic.Pointer[func() error]
}

func (c *guardedConn) Write(b []byte) (int, error) {
	if check := c.check.Swap(nil); check != nil {
		if err := (*check)(); err != nil {
			return 0, fencedError{err}
		}
	}
	return c.Conn.Write(b) //nolint:wrapcheck // net/http looks at the net package's errors
}

// noted is a check that leaves its error in kept, too.
func noted(check func() error, kept *atomic.Pointer[fencedError]) func() error {
	if check == nil {
		return nil
	}
	return func() error {
		err := check()
		if err != nil {
			kept.Store(&fencedError{err})
		}
		return err
	}
}

// dial connects to a Controller.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err //nolint:wrapcheck // net/http looks at the net package's errors
	}
	return &guardedConn{Conn: conn}, nil
}

// guard has the next request on a connection, which serves one at a time, pass a check, or none for nil.
func guard(conn net.Conn, check func() error) {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	if c, ok := conn.(*guardedConn); ok && check != nil {
		c.check.Store(&check)
	}
}
