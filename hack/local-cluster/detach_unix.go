// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import "syscall"

// detached keeps the signals of the terminal away from the background process.
func detached() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
