// SPDX-License-Identifier: Apache-2.0

package sctp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func endpoint(t *testing.T) *Endpoint {
	t.Helper()
	e, err := NewEndpoint(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// echo answers each message on its stream until the association ends, and tells how it ended.
func echo(a *Association) error {
	for {
		m, err := a.Read()
		if err != nil {
			return err
		}
		if err := a.Write(m); err != nil {
			return err
		}
	}
}

// pair is an association from both sides.
func pair(t *testing.T, port uint16) (client, server *Association) {
	t.Helper()
	e := endpoint(t)
	l, err := e.Listen(port)
	if err != nil {
		t.Fatal(err)
	}
	client, err = endpoint(t).Dial(bounded(t), e.Addr(), port)
	if err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return client, server
}

// TestStreams sends messages of all sizes on many streams at once: each comes back on its stream, in order and with its protocol.
func TestStreams(t *testing.T) {
	client, server := pair(t, 38412)
	done := make(chan error, 1)
	go func() { done <- echo(server) }()
	const streams, each = 20, 10
	message := func(stream, i int) Message {
		data := bytes.Repeat([]byte{byte(stream), byte(i)}, 1+i*i*300)
		return Message{Stream: uint16(stream), Protocol: uint32(60 + stream), Data: data}
	}
	var senders sync.WaitGroup
	for s := range streams {
		senders.Go(func() {
			for i := range each {
				if err := client.Write(message(s, i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	next := map[uint16]int{}
	for range streams * each {
		m, err := client.Read()
		if err != nil {
			t.Fatal(err)
		}
		if want := message(int(m.Stream), next[m.Stream]); m.Protocol != want.Protocol || !bytes.Equal(m.Data, want.Data) {
			t.Fatalf("stream %d: message %d came back as protocol %d with %d bytes", m.Stream, next[m.Stream], m.Protocol, len(m.Data))
		}
		next[m.Stream]++
	}
	senders.Wait()
	if err := client.Shutdown(bounded(t)); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, io.EOF) {
		t.Errorf("a shutdown ends the other side with %v", err)
	}
}

// TestShutdownLosesNothing: what was sent before a shutdown is read after it.
func TestShutdownLosesNothing(t *testing.T) {
	client, server := pair(t, 7)
	for i := range 50 {
		if err := client.Write(Message{Data: fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := client.Shutdown(bounded(t)); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		m, err := server.Read()
		if err != nil || string(m.Data) != fmt.Sprint(i) {
			t.Fatalf("message %d: %q, %v", i, m.Data, err)
		}
	}
	if _, err := server.Read(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if err := server.Write(Message{Data: []byte("late")}); err == nil {
		t.Error("a message after the shutdown was taken")
	}
	if err := server.Shutdown(bounded(t)); err != nil {
		t.Errorf("shutting down what is over: %v", err)
	}
}

func TestAbort(t *testing.T) {
	client, server := pair(t, 7)
	client.Abort("no reason")
	if _, err := server.Read(); !errors.Is(err, ErrAborted) {
		t.Errorf("the other side ends with %v", err)
	}
	client.Abort("twice")
}

// TestNobodyListens: a port without a listener refuses, and a listener that is closed.
func TestNobodyListens(t *testing.T) {
	server, client := endpoint(t), endpoint(t)
	for range 2 {
		begin := time.Now()
		if _, err := client.Dial(bounded(t), server.Addr(), 9); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("it ends with %v", err)
		}
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("that took %s", took)
		}
		l, err := server.Listen(9)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := server.Listen(9); err == nil {
			t.Error("a port has two listeners")
		}
		l.Close()
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if _, err := client.Dial(ctx, addrPort(silent.LocalAddr()), 9); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("where nobody answers, it ends with %v", err)
	}
}

// TestPortsOnTheWire looks at the packets: they carry the ports of SCTP and a right checksum, and a peer that is gone is answered.
func TestPortsOnTheWire(t *testing.T) {
	server, client := endpoint(t), endpoint(t)
	tap, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tap.Close()
	l, err := server.Listen(36412)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan string, 1000)
	go func() { // between the two
		var from net.Addr
		b := make([]byte, 1<<16)
		for {
			n, at, err := tap.ReadFrom(b)
			if err != nil {
				close(seen)
				return
			}
			p := packet(b[:n])
			to := net.Addr(net.UDPAddrFromAddrPort(server.Addr()))
			if addrPort(at) == server.Addr() {
				to = from
				seen <- fmt.Sprint("back ", p.source() == 36412 && p.destination() >= ephemeral && p.valid())
			} else {
				from = at
				seen <- fmt.Sprint("forth ", p.destination() == 36412 && p.source() >= ephemeral && p.valid())
			}
			_, _ = tap.WriteTo(b[:n], to)
		}
	}()
	a, err := client.Dial(bounded(t), addrPort(tap.LocalAddr()), 36412)
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	go echo(b)
	if err := a.Write(Message{Stream: 3, Data: []byte("hello")}); err != nil {
		t.Fatal(err)
	}
	if m, err := a.Read(); err != nil || string(m.Data) != "hello" || m.Stream != 3 {
		t.Fatal(m, err)
	}
	a.Abort("the end")
	if _, err := b.Read(); err == nil {
		t.Error("the association goes on")
	}
	tap.Close()
	forth, back := 0, 0
	for s := range seen {
		switch s {
		case "forth true":
			forth++
		case "back true":
			back++
		default:
			t.Errorf("a packet is wrong: %s", s)
		}
	}
	if forth < 3 || back < 3 {
		t.Errorf("%d packets forth, %d back", forth, back)
	}
}

// TestInIP has packets travel in IP itself: several clients that share an address get what is theirs, and who listens to nothing answers
// nothing. A process without the right is told.
func TestInIP(t *testing.T) {
	at := netip.AddrFrom4([4]byte{127, byte(64 + rand.IntN(90)), byte(rand.IntN(256)), byte(2 + rand.IntN(250))})
	open := func() *Endpoint {
		t.Helper()
		e, err := NewIPEndpoint(at)
		if errors.Is(err, syscall.EPERM) || errors.Is(err, ErrKernel) {
			t.Logf("not here: %v", err)
			return nil
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.Close() })
		return e
	}
	bystander, server := open(), open()
	if server == nil {
		return
	}
	if bystander.Addr() != netip.AddrPortFrom(at, 0) {
		t.Errorf("its address is %s", bystander.Addr())
	}
	l, err := server.Listen(38412)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for a, err := l.Accept(); err == nil; a, err = l.Accept() {
			go echo(a)
		}
	}()
	dialers := [2]Dialer{{InIP: true}, {InIP: true}}
	var associations []*Association
	for i := range dialers {
		t.Cleanup(func() { _ = dialers[i].Close() })
		for range 5 {
			a, err := dialers[i].Dial(bounded(t), netip.AddrPortFrom(at, 9), 38412)
			if err != nil {
				t.Fatal(err)
			}
			associations = append(associations, a)
		}
	}
	for i, a := range associations {
		want := strings.Repeat(fmt.Sprint(i), 3000)
		if err := a.Write(Message{Stream: 1, Data: []byte(want)}); err != nil {
			t.Fatal(err)
		}
		if m, err := a.Read(); err != nil || string(m.Data) != want {
			t.Fatalf("%d bytes came back, %v", len(m.Data), err)
		}
	}
	if _, err := dialers[0].Dial(bounded(t), netip.AddrPortFrom(at, 0), 7); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("where nobody listens, it ends with %v", err)
	}
	for _, a := range associations {
		if err := a.Shutdown(bounded(t)); err != nil {
			t.Error(err)
		}
	}
}

// TestOutOfTheBlue sends packets that belong to nothing, and what is no packet.
func TestOutOfTheBlue(t *testing.T) {
	e := endpoint(t)
	c, err := net.Dial("udp", e.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	build := func(kind byte, body int) packet {
		p := make(packet, headerLength+chunkLength+body)
		binary.BigEndian.PutUint32(p[4:], 0xabcd)
		p[headerLength] = kind
		binary.BigEndian.PutUint16(p[headerLength+2:], uint16(chunkLength+body))
		if body >= 4 {
			binary.BigEndian.PutUint32(p[headerLength+chunkLength:], 0x1234)
		}
		p.setPorts(1, 2)
		return p
	}
	broken := build(chunkInit, 16)
	broken[8]++
	for _, p := range []packet{
		{}, {1, 2, 3}, broken, build(chunkAbort, 0), build(chunkShutdownComplete, 0), build(chunkInitAck, 16), build(chunkInit, 0),
	} {
		_, _ = c.Write(p)
	}
	for _, x := range []struct {
		send        packet
		kind, flags byte
		tag         uint32
	}{
		{build(chunkInit, 16), chunkAbort, 0, 0x1234},
		{build(chunkShutdownAck, 0), chunkShutdownComplete, reflectedTag, 0xabcd},
		{build(0, 12), chunkAbort, reflectedTag, 0xabcd},
	} {
		if _, err := c.Write(x.send); err != nil {
			t.Fatal(err)
		}
		b := make(packet, 100)
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		p := b[:n]
		if !p.valid() || p.source() != 2 || p.destination() != 1 || p[headerLength] != x.kind || p[headerLength+1] != x.flags ||
			p.tag() != x.tag {
			t.Errorf("to %x the answer is %x", x.send, p)
		}
	}
}

// FuzzPackets throws packets at an endpoint with a listener and an association: it goes on.
func FuzzPackets(f *testing.F) {
	f.Add([]byte{0, 1, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 20, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1})
	f.Add([]byte{0, 1, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 3})
	f.Fuzz(func(_ *testing.T, b []byte) {
		if len(b) < headerLength+chunkLength {
			return
		}
		p := packet(append([]byte(nil), b...))
		p.setPorts(p.source(), p.destination())
		if !p.valid() {
			panic("a packet with a fresh checksum is not valid")
		}
		for kind := range 16 {
			p.has(byte(kind))
		}
		if a := p.outOfTheBlue(); a != nil && (!a.valid() || a.source() != p.destination()) {
			panic("the answer is no packet")
		}
	})
}
