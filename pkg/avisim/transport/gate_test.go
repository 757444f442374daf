// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"errors"
	"net"
	"syscall"
	"testing"
)

// echo accepts connections and keeps them open until the gate is closed.
func echo(t *testing.T) *Gate {
	t.Helper()
	g, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := g.Accept()
			if err != nil {
				return
			}
			if _, err := c.Write([]byte("x")); err != nil {
				_ = c.Close()
			}
		}
	}()
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
		<-done
		g.Cut()
	})
	return g
}

// greeted connects and reads what every connection is greeted with.
func greeted(g *Gate) (net.Conn, error) {
	c, err := net.Dial("tcp", g.Addr().String())
	if err != nil {
		return nil, err
	}
	if _, err := c.Read(make([]byte, 1)); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// TestGate cuts, refuses and admits connections on one address.
func TestGate(t *testing.T) {
	g := echo(t)
	c, err := greeted(g)
	if err != nil {
		t.Fatal(err)
	}
	g.Cut()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a connection that was cut: %v, want a reset", err)
	}
	g.SetDown(true)
	if _, err := greeted(g); err == nil {
		t.Error("greeted while down")
	}
	g.SetDown(false)
	first, second := g.Refuse(), g.Refuse()
	first()
	first() // counts once
	if _, err := greeted(g); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("while one still refuses: %v, want it refused", err)
	}
	second()
	if _, err := greeted(g); err != nil {
		t.Errorf("admitted again: %v", err)
	}
}
