// SPDX-License-Identifier: Apache-2.0

package cluster

import "syscall"

// processAttributes lets no process outlive this one, however it ends, and keeps a ctrl-C in the terminal from
// reaching them before Stop ends them in order.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
