// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/sctp"
)

// check is one question to a server.
type check struct {
	protocol          string
	port              int    // of the monitor; 0: the server's
	request, response string // of UDP
}

// silence on UDP for so long means that nothing says that the port is closed. On loopback the kernel's answer is there at once.
const silence = 200 * time.Millisecond

// prober asks servers.
type prober struct {
	Probe
	sctp sctp.Dialer
}

// ask makes all checks of a server, and returns the first that fails.
func (p *prober) ask(ctx context.Context, t probed) error {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	ways := map[string]func(context.Context, netip.AddrPort, check) error{"TCP": p.tcp, "UDP": p.udp, "SCTP": p.association}
	for _, c := range t.checks {
		port := t.at.Port
		if c.port != 0 {
			port = c.port
		}
		if err := ways[c.protocol](ctx, netip.AddrPortFrom(t.address, uint16(port)), c); err != nil {
			return err
		}
	}
	return nil
}

func (p *prober) tcp(ctx context.Context, to netip.AddrPort, _ check) error {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", to.String())
	if err != nil {
		return fmt.Errorf("TCP connection failed: %w", err)
	}
	return c.Close()
}

// udp sends a datagram. Evidence: documented; without a response that the monitor waits for, only the answer that the port is closed
// says that a server is down.
func (p *prober) udp(ctx context.Context, to netip.AddrPort, c check) error {
	conn, err := new(net.Dialer).DialContext(ctx, "udp", to.String())
	if err != nil {
		return fmt.Errorf("UDP failed: %w", err)
	}
	defer conn.Close() //nolint:errcheck // what was to be read is read
	wait := silence
	if c.response != "" {
		wait = p.Timeout
	}
	if err := conn.SetDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte(c.request)); err != nil {
		return fmt.Errorf("UDP failed: %w", err)
	}
	answer := make([]byte, 1<<16)
	n, err := conn.Read(answer)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && c.response == "":
		return nil
	case err != nil:
		return fmt.Errorf("UDP failed: %w", err)
	case !strings.Contains(string(answer[:n]), c.response):
		return errors.New("the answer is not the one that the monitor asks for")
	}
	return nil
}

// association makes one of SCTP, and ends it in order.
func (p *prober) association(ctx context.Context, to netip.AddrPort, _ check) error {
	a, err := p.sctp.Dial(ctx, netip.AddrPortFrom(to.Addr(), p.SCTPPort), to.Port())
	if err != nil {
		return fmt.Errorf("association failed: %w", err)
	}
	if err := a.Shutdown(ctx); err != nil {
		return fmt.Errorf("association was not shut down: %w", err)
	}
	return nil
}
