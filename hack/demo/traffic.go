// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/hack/demo/stage"
	"github.com/avi-l4-operator/avi-l4-operator/hack/pods"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/sctp"
)

// The clients of the show: one whose address is in 10.0.0.0/8 of the simulated network, and a stranger to it.
var (
	friend   = netip.MustParseAddr("10.30.0.1")
	stranger = netip.MustParseAddr("127.0.0.1")
)

// sendBytes sends messages to the sample's port, on several streams, until both of its pods have answered, and to the ports of the other.
func sendBytes(ctx context.Context, s *story) error {
	vip, err := s.vip(ctx, sample)
	if err != nil {
		return err
	}
	s.happens(fmt.Sprintf("a client sends to SCTP %s, on two streams", netip.AddrPortFrom(vip, 80)))
	seen := map[string]bool{}
	err = stage.Until(ctx, "both pods answer", func(ctx context.Context) error {
		pod, lines, err := s.associate(ctx, friend, vip, 80, "NGSetupRequest", "UplinkNASTransport")
		if err != nil {
			return err
		}
		if !seen[pod] {
			s.show(strings.Join(lines, "\n"))
		}
		if seen[pod] = true; len(seen) < 2 {
			return fmt.Errorf("only %v has", seen)
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.saw("both pods have answered, each in an association of its own that was shut down in order")
	if vip, err = s.vip(ctx, mixed); err != nil {
		return err
	}
	for _, port := range []struct {
		protocol string
		number   uint16
	}{{"SCTP", 38412}, {"TCP", 80}, {"UDP", 53}} {
		if err := s.sendTo(ctx, port.protocol, netip.AddrPortFrom(vip, port.number)); err != nil {
			return err
		}
	}
	return nil
}

// sendTo sends to a port of any protocol and shows what comes back. A port below 1024 that this process may not open is told.
func (s *story) sendTo(ctx context.Context, protocol string, to netip.AddrPort) error {
	return stage.Until(ctx, fmt.Sprintf("an answer by %s from %s", protocol, to), func(ctx context.Context) error {
		at, err := s.Controller.Plane().Find(protocol, to)
		if errors.Is(err, syscall.EACCES) {
			s.saw("%s %s isn't tried: this user may not listen at ports below 1024", protocol, to)
			return nil
		}
		if err != nil {
			return err
		}
		var lines []string
		if protocol == "SCTP" {
			_, lines, err = s.associate(ctx, friend, to.Addr(), to.Port(), "hello")
		} else {
			lines, err = exchange(ctx, protocol, at)
		}
		if err == nil {
			s.saw("%s %s answers", protocol, to)
			s.show(strings.Join(lines, "\n"))
		}
		return err
	})
}

// exchange asks a pod by TCP or UDP who it is.
func exchange(ctx context.Context, protocol string, at netip.AddrPort) ([]string, error) {
	c, err := new(net.Dialer).DialContext(ctx, strings.ToLower(protocol), at.String())
	if err != nil {
		return nil, err
	}
	defer c.Close() //nolint:errcheck // what was to be read is read
	_ = c.SetDeadline(time.Now().Add(2 * time.Second))
	text := "TEST"
	if protocol == "TCP" {
		text += "\n"
	}
	if _, err := c.Write([]byte(text)); err != nil {
		return nil, err
	}
	b := make([]byte, 1<<16)
	for answer := ""; ; {
		n, err := c.Read(b)
		if err != nil {
			return nil, err
		}
		answer += string(b[:n])
		if i := strings.IndexByte(answer, '{'); i >= 0 && strings.Contains(answer, "}") {
			line, _, err := told("TEST", []byte(strings.TrimSpace(answer[i:])))
			return []string{line}, err
		}
	}
}

// told puts a message and its answer into words.
func told(request string, answer []byte) (line, pod string, err error) {
	var a pods.Answer
	if err := json.Unmarshal(answer, &a); err != nil {
		return "", "", err
	}
	if a.Request != request {
		return "", "", fmt.Errorf("%q came back as %q", request, a.Request)
	}
	return fmt.Sprintf("%d bytes there: %s\n%d bytes back:  %s", len(request), request, len(answer), answer), a.Pod, nil
}

// associate makes an association, sends each message on a stream of its own, and shuts it down.
func (s *story) associate(
	ctx context.Context, from, vip netip.Addr, port uint16, messages ...string,
) (pod string, lines []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	local, err := s.Room.Map.To(from)
	if err != nil {
		return "", nil, err
	}
	at, err := s.Room.Map.To(vip)
	if err != nil {
		return "", nil, err
	}
	client, err := sctp.NewEndpoint(netip.AddrPortFrom(local, 0))
	if err != nil {
		return "", nil, err
	}
	defer client.Close() //nolint:errcheck // the association is over
	a, err := client.Dial(ctx, netip.AddrPortFrom(at, sctp.Port), port)
	if err != nil {
		return "", nil, err
	}
	late := context.AfterFunc(ctx, func() { a.Abort("no answer") })
	defer late()
	for stream, text := range messages {
		if err := a.Write(sctp.Message{Stream: uint16(stream), Protocol: 60, Data: []byte(text)}); err != nil {
			return "", nil, err
		}
		m, err := a.Read()
		if err != nil {
			return "", nil, err
		}
		line, who, err := told(text, m.Data)
		if err != nil || int(m.Stream) != stream {
			return "", nil, fmt.Errorf("stream %d answers for stream %d: %w", m.Stream, stream, err)
		}
		pod = who
		for part := range strings.SplitSeq(line, "\n") {
			lines = append(lines, fmt.Sprintf("stream %d, %s", stream, part))
		}
	}
	return pod, lines, a.Shutdown(ctx)
}

// clientsOf tries the sample's port as a friend and as a stranger: the friend is let in always.
func (s *story) clientsOf(ctx context.Context, all bool) error {
	vip, err := s.vip(ctx, sample)
	if err != nil {
		return err
	}
	err = stage.Until(ctx, "who is let in", func(ctx context.Context) error {
		if _, _, err := s.associate(ctx, friend, vip, 80, "hello"); err != nil {
			return fmt.Errorf("an association from %s: %w", friend, err)
		}
		if _, _, err := s.associate(ctx, stranger, vip, 80, "hello"); (err == nil) != all {
			return fmt.Errorf("an association from %s ends with %w", stranger, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	answer := "aborted"
	if all {
		answer = "answered"
	}
	s.saw("an association from %s is answered, one from %s is %s", friend, stranger, answer)
	return nil
}

// vip is the address of a Service.
func (s *story) vip(ctx context.Context, service string) (netip.Addr, error) {
	text, err := s.address(ctx, service)
	if err != nil {
		return netip.Addr{}, err
	}
	return netip.ParseAddr(text)
}
