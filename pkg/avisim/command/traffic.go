// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/sctp"
)

// answerTime is how long send waits for each step.
const answerTime = 5 * time.Second

// traffic lists the ports that are served, and where.
func (c *cli) traffic(ctx context.Context, _ []string) error {
	var st avisim.TrafficStatus
	if err := c.call(ctx, http.MethodGet, "/traffic", nil, &st); err != nil {
		return err
	}
	return c.table("VIRTUAL SERVICE\tPROTOCOL\tADDRESS\tIS AT\tNOW\tOPENED\tREFUSED\tFAILED\tERROR", func(w io.Writer) {
		for _, s := range st.Services {
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\n", s.VirtualService, s.Protocol, s.Address, s.Listens, s.Connections,
				s.Opened, s.Refused, s.Failed, s.Error)
		}
	})
}

// send sends a text to a port of a VIP, and prints what comes back.
func (c *cli) send(ctx context.Context, args []string) error {
	protocol, text := strings.ToUpper(args[0]), strings.Join(args[2:], " ")
	to, err := netip.ParseAddrPort(args[1])
	if err != nil {
		return fmt.Errorf("%q is not ADDRESS:PORT", args[1])
	}
	var st avisim.TrafficStatus
	if err := c.call(ctx, http.MethodGet, "/traffic", nil, &st); err != nil {
		return err
	}
	for _, s := range st.Services {
		if s.Protocol != protocol || s.Address != to.String() {
			continue
		}
		if s.Error != "" {
			return errors.New(s.Error)
		}
		ctx, cancel := context.WithTimeout(ctx, answerTime)
		defer cancel()
		answer, err := exchange(ctx, protocol, s.Listens, to.Port(), text)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(c.out, answer)
		return err
	}
	return fmt.Errorf("%s %s is no port of a virtual service that is served: avisim traffic lists them", protocol, to)
}

// exchange sends a text and waits for the first answer.
func exchange(ctx context.Context, protocol, at string, port uint16, text string) (string, error) {
	if protocol == "SCTP" {
		return associate(ctx, at, port, text)
	}
	conn, err := new(net.Dialer).DialContext(ctx, strings.ToLower(protocol), at)
	if err != nil {
		return "", err
	}
	defer conn.Close() //nolint:errcheck // what was to be read is read
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	if protocol == "TCP" {
		text += "\n"
	}
	if _, err := io.WriteString(conn, text); err != nil {
		return "", err
	}
	answer := make([]byte, 1<<16)
	n, err := conn.Read(answer)
	if errors.Is(err, io.EOF) {
		err = errors.New("it was closed without an answer")
	}
	return strings.TrimSuffix(string(answer[:n]), "\n"), err
}

func associate(ctx context.Context, at string, port uint16, text string) (string, error) {
	to, err := netip.ParseAddrPort(at)
	if err != nil {
		return "", err
	}
	d := sctp.Dialer{InIP: to.Port() == 0}
	defer d.Close() //nolint:errcheck // nothing of it is needed any more
	a, err := d.Dial(ctx, to, port)
	if err != nil {
		return "", err
	}
	stop := context.AfterFunc(ctx, func() { a.Abort("no answer in time") })
	defer stop()
	if err := a.Write(sctp.Message{Data: []byte(text)}); err != nil {
		return "", err
	}
	m, err := a.Read()
	if err != nil && ctx.Err() != nil {
		return "", fmt.Errorf("no answer within %s", answerTime)
	}
	if err != nil {
		return "", err
	}
	return string(m.Data), a.Shutdown(ctx)
}
