// SPDX-License-Identifier: Apache-2.0

package stage

import "syscall"

// processAttributes lets the operator not outlive this process, however it ends, and keeps a ctrl-C in the terminal
// from reaching it before it is stopped in order.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
