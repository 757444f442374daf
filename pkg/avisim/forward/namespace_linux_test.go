// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inNamespace is set where the tests run in a network namespace that has all addresses of the simulated network.
const inNamespace = "FORWARD_TEST_NAMESPACE"

// TestNamespace runs the tests of traffic again in a network namespace of their own, with the addresses as they are. It needs no root, only
// a kernel that lets users make namespaces; where it does not, that is told.
func TestNamespace(t *testing.T) { again(t, inNamespace) }

// TestInIP runs them there with SCTP in IP itself, which takes rights that a process has in a namespace of its own. A kernel with SCTP of
// its own is told.
func TestInIP(t *testing.T) {
	if _, err := os.Stat("/proc/net/sctp"); err == nil {
		t.Log("this machine's kernel has SCTP of its own")
		return
	}
	again(t, inNamespace, inIP)
}

// again runs tests of traffic in a namespace, with variables set.
func again(t *testing.T, set ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^(TestProtocols|TestSourceRanges|TestDrain)$", "-test.v")
	cmd.Env = os.Environ()
	for _, name := range set {
		cmd.Env = append(cmd.Env, name+"=1")
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EINVAL) {
		t.Logf("this machine makes no namespaces for users: %v", err)
		return
	}
	if err != nil || strings.Count(string(out), "--- PASS") != 3 {
		t.Errorf("%v\n%s", err, out)
	}
}

// ownNetwork has all of 10.0.0.0/8 be this namespace's own, as it has 127.0.0.0/8.
func ownNetwork() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for _, step := range []struct {
		device, what string
		request      uint
		address      []byte
	}{
		{"lo", "up", unix.SIOCSIFFLAGS, nil},
		{"lo:1", "address", unix.SIOCSIFADDR, []byte{10, 0, 0, 1}},
		{"lo:1", "mask", unix.SIOCSIFNETMASK, []byte{255, 0, 0, 0}},
	} {
		r, err := unix.NewIfreq(step.device)
		if err != nil {
			return err
		}
		if step.address == nil {
			r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
		} else if err := r.SetInet4Addr(step.address); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(fd, step.request, r); err != nil {
			return errors.Join(errors.New(step.what), err)
		}
	}
	return nil
}
