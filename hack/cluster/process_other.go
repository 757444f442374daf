// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package cluster

import "syscall"

// processAttributes has nothing portable to offer: elsewhere than on Linux, the processes of a program that is
// killed outright outlive it.
func processAttributes() *syscall.SysProcAttr { return nil }
