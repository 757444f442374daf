// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// quiet reports whether a connection has carried nothing for so long. The kernel moves the bytes from socket to socket by itself, so it is
// asked.
func quiet(c *net.TCPConn, limit time.Duration) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return true
	}
	var info *unix.TCPInfo
	var failed error
	ask := func(fd uintptr) { info, failed = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }
	if err := raw.Control(ask); err != nil || failed != nil {
		return true
	}
	least := limit.Milliseconds()
	return int64(info.Last_data_recv) >= least && int64(info.Last_data_sent) >= least
}
