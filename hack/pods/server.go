// SPDX-License-Identifier: Apache-2.0

package pods

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/sctp"
)

// server answers for one container.
type server struct {
	who Answer
	dns bool

	mu     sync.Mutex
	closed bool
	open   map[interface{ Close() error }]struct{}
	sctp   *sctp.Endpoint
	done   sync.WaitGroup
}

// keep notes what is to be closed at the end. It reports whether the end has been.
func (s *server) keep(c interface{ Close() error }) (closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return true
	}
	if s.open == nil {
		s.open = map[interface{ Close() error }]struct{}{}
	}
	s.open[c] = struct{}{}
	return false
}

// drop closes something before the end.
func (s *server) drop(c interface{ Close() error }) {
	s.mu.Lock()
	delete(s.open, c)
	s.mu.Unlock()
	_ = c.Close()
}

// close ends everything at once, as the end of a process does.
func (s *server) close() {
	s.mu.Lock()
	s.closed = true
	open := s.open
	s.open = nil
	s.mu.Unlock()
	var closing sync.WaitGroup
	for c := range open {
		closing.Go(func() {
			if t, is := c.(*net.TCPConn); is {
				_ = t.SetLinger(0)
			}
			_ = c.Close()
		})
	}
	closing.Wait()
	if s.sctp != nil {
		_ = s.sctp.Close() // behind the ABORTs of its associations
	}
	s.done.Wait()
}

// association is closed as a kernel does for a process that ends.
type association struct{ *sctp.Association }

// Close aborts it.
func (a association) Close() error {
	a.Abort("the pod ends")
	return nil
}

func (s *server) answer(request string) []byte {
	a := s.who
	a.Request = request
	b, err := json.Marshal(a)
	if err != nil {
		panic(err) // strings always are JSON
	}
	return b
}

func (s *server) tcp(at netip.AddrPort) error {
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
	if err != nil {
		return err
	}
	s.keep(l)
	s.done.Go(func() {
		for {
			c, err := l.AcceptTCP()
			if err != nil {
				return
			}
			if s.keep(c) {
				_ = c.Close()
				return
			}
			s.done.Go(func() {
				defer s.drop(c)
				s.lines(c)
			})
		}
	})
	return nil
}

// lines answers each line of a connection.
func (s *server) lines(c net.Conn) {
	if _, err := c.Write([]byte(Welcome)); err != nil {
		return
	}
	r := bufio.NewScanner(c)
	for r.Scan() {
		answer := r.Bytes()
		switch r.Text() {
		case "PING":
			answer = []byte("PONG")
		case "IS_TLS":
			answer = []byte("false")
		case "TEST":
			answer = s.answer("TEST")
		}
		if _, err := fmt.Fprintf(c, "%s\n", answer); err != nil {
			return
		}
	}
}

func (s *server) udp(at netip.AddrPort) error {
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		return err
	}
	s.keep(c)
	s.done.Go(func() {
		b := make([]byte, 1<<16)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			answer := s.answer(string(b[:n]))
			if s.dns {
				answer = noSuchName(b[:n])
			}
			_, _ = c.WriteToUDPAddrPort(answer, from)
		}
	})
	return nil
}

// noSuchName makes a question of DNS its answer.
func noSuchName(question []byte) []byte {
	if len(question) > 3 {
		question[2] |= 0x80                    // it is an answer
		question[3] = question[3]&^0x0f | 0x03 // NXDOMAIN
	}
	return question
}

// associations answers at a port of SCTP. All ports of the container have one UDP socket.
func (s *server) associations(at netip.AddrPort, port uint16) error {
	if s.sctp == nil {
		e, err := sctp.NewEndpoint(at)
		if err != nil {
			return err
		}
		s.sctp = e
	}
	l, err := s.sctp.Listen(port)
	if err != nil {
		return err
	}
	s.done.Go(func() {
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			held := &association{a}
			if s.keep(held) {
				a.Abort("the pod ends")
				return
			}
			s.done.Go(func() {
				defer s.drop(held)
				for {
					m, err := a.Read()
					if err != nil {
						return
					}
					m.Data = s.answer(string(m.Data))
					if a.Write(m) != nil {
						return
					}
				}
			})
		}
	})
	return nil
}
