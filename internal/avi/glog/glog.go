// SPDX-License-Identifier: Apache-2.0

// Package glog stands in for github.com/golang/glog, which alb-sdk's go/session logs through, and says nothing.
//
// The real one cannot be kept quiet by its flags: a line goes either to stderr or to a file under $TMPDIR, and on a
// read-only root file system the attempt to make that file ends the process with os.Exit(2). go/session writes several
// lines per request, and on a network error the whole request with its cookies. The real one also registers -v,
// -logtostderr and others on flag.CommandLine, where klog's would collide with them, and starts a goroutine that never
// ends. What is worth logging about a request is logged by package avi.
//
// It has the functions that alb-sdk calls and no more.
package glog

// Infof drops its arguments.
func Infof(string, ...any) {}

// Warning drops its arguments.
func Warning(...any) {}

// Error drops its arguments.
func Error(...any) {}

// Errorf drops its arguments.
func Errorf(string, ...any) {}
