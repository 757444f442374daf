// SPDX-License-Identifier: Apache-2.0

package sctp

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"sync"
	"time"

	pion "github.com/pion/sctp"
)

// ErrAborted is how an association ends that the other side aborts, or does not answer any more.
var ErrAborted = errors.New("the SCTP association was aborted")

// Message is one message of the user.
type Message struct {
	Stream    uint16
	Protocol  uint32 // payload protocol identifier, such as 60 for NGAP
	Unordered bool   // to be sent so; what comes in never says it
	Data      []byte
}

const (
	heartbeatEvery = 30 * time.Second
	silence        = 5 * time.Minute // of the other side, whom heartbeats ask, before it counts as gone
)

// Association is one association. Its methods are safe for concurrent use.
type Association struct {
	conn     *conn
	inner    *pion.Association
	messages chan Message
	ended    chan struct{} // closed when all that was received has been read, or nobody reads any more
	quit     chan struct{} // closed when nobody reads any more
	once     sync.Once

	mu      sync.Mutex
	streams map[uint16]*stream
	readers int // those of streams, and accept
}

// stream is a stream that is read.
type stream struct {
	*pion.Stream
	mu sync.Mutex // of those who write
}

func newAssociation(c *conn, inner *pion.Association) *Association {
	a := &Association{conn: c, inner: inner, messages: make(chan Message, 16), ended: make(chan struct{}), quit: make(chan struct{}),
		streams: map[uint16]*stream{}, readers: 1}
	go a.accept()
	go a.watch()
	return a
}

// accept has each stream read that the other side begins.
func (a *Association) accept() {
	defer a.finished()
	for {
		s, err := a.inner.AcceptStream()
		if err != nil {
			_ = a.conn.Close()
			return
		}
		a.follow(s)
	}
}

// finished notes that a reader has ended. Nothing comes any more when the last one has.
func (a *Association) finished() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.readers--; a.readers == 0 {
		close(a.ended)
	}
}

// follow has a stream read, once, whichever side has begun it.
func (a *Association) follow(s *pion.Stream) *stream {
	id := s.StreamIdentifier()
	a.mu.Lock()
	defer a.mu.Unlock()
	if x := a.streams[id]; x != nil && x.Stream == s {
		return x
	}
	x := &stream{Stream: s}
	a.streams[id] = x
	if a.readers > 0 {
		a.readers++
		go a.read(x)
	}
	return x
}

// read hands the messages of a stream to Read, until the association ends or the other side resets the stream, which is a new one then.
func (a *Association) read(s *stream) {
	defer a.finished()
	buffer := make([]byte, largest)
	for {
		n, protocol, err := s.ReadSCTP(buffer)
		if err != nil {
			return
		}
		m := Message{Stream: s.StreamIdentifier(), Protocol: uint32(protocol), Data: append([]byte(nil), buffer[:n]...)}
		select {
		case a.messages <- m:
		case <-a.quit:
			return
		}
	}
}

func (a *Association) over() bool {
	select {
	case <-a.conn.closed:
		return true
	default:
		return false
	}
}

// watch sends heartbeats, and gives a side up that has not been heard of for long.
func (a *Association) watch() {
	t := time.NewTicker(heartbeatEvery)
	defer t.Stop()
	for {
		select {
		case <-a.conn.closed:
			return
		case <-t.C:
		}
		if time.Since(time.Unix(0, a.conn.heard.Load())) > silence {
			a.conn.aborted.Store(true)
			_ = a.conn.Close()
			return
		}
		a.inner.ActiveHeartbeat()
	}
}

// Remote is the other side's UDP address, whose port is 0 without UDP, and SCTP port.
func (a *Association) Remote() (netip.AddrPort, uint16) {
	return a.conn.path.remote, a.conn.path.remotePort
}

// Read waits for a message, in the order of its stream. It returns io.EOF when the association was shut down and everything is read, and
// ErrAborted when it was aborted.
func (a *Association) Read() (Message, error) {
	select {
	case m := <-a.messages:
		return m, nil
	case <-a.ended:
	}
	select {
	case m := <-a.messages:
		return m, nil
	default:
	}
	if a.conn.aborted.Load() {
		return Message{}, ErrAborted
	}
	return Message{}, io.EOF
}

// Write sends a message, and waits while too much is on its way. It returns ErrAborted when the association was aborted.
func (a *Association) Write(m Message) error {
	err := a.write(m)
	if err != nil && a.conn.aborted.Load() {
		return ErrAborted
	}
	return err
}

func (a *Association) write(m Message) error {
	opened, err := a.inner.OpenStream(m.Stream, pion.PayloadProtocolIdentifier(m.Protocol))
	if err != nil {
		return err
	}
	s := a.follow(opened)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.SetReliabilityParams(m.Unordered, pion.ReliabilityTypeReliable, 0)
	_, err = s.WriteSCTP(m.Data, pion.PayloadProtocolIdentifier(m.Protocol))
	return err
}

// Shutdown ends the association in order: what is on its way arrives first. What has come in and was not read is lost. When the context
// ends before that, the association is aborted.
func (a *Association) Shutdown(ctx context.Context) error {
	err := a.inner.Shutdown(ctx)
	if errors.Is(err, pion.ErrShutdownNonEstablished) { // the other side has begun it, or it is over
		select {
		case <-a.conn.closed:
			err = nil
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if err != nil {
		a.Abort("shutdown took too long")
		return err
	}
	a.release()
	return nil
}

// Abort ends the association at once.
func (a *Association) Abort(reason string) {
	if !a.over() {
		a.inner.Abort(reason)
	}
	a.release()
}

// release ends what is left of an association.
func (a *Association) release() {
	a.once.Do(func() { close(a.quit) })
	_ = a.conn.Close()
}
