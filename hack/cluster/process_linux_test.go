// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestParentKilled kills a program that runs a cluster, which has no chance to stop it.
func TestParentKilled(t *testing.T) {
	const role = "CLUSTER_TEST_PARENT"
	if dir := os.Getenv(role); dir != "" {
		c, err := Start(t.Context(), Options{Dir: dir, ControlPlaneOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, pid := range processIDs(c) {
			fmt.Println("pid", pid)
		}
		fmt.Println("ready")
		<-t.Context().Done()
		return
	}

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	parent := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestParentKilled$")
	parent.Env = append(os.Environ(), role+"="+t.TempDir())
	parent.Stderr = t.Output()
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var pids []int
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "ready" {
		if number, ok := strings.CutPrefix(lines.Text(), "pid "); ok {
			pid, err := strconv.Atoi(number)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	if len(pids) != 2 {
		t.Fatalf("the cluster's processes are %v, want two", pids)
	}
	for _, pid := range pids {
		err := poll(ctx, fmt.Sprintf("the end of process %d", pid), func() (bool, error) { return ended(pid), nil })
		if err != nil {
			t.Error(err)
		}
	}
}

// ended counts a process that nobody has waited for as ended: whether its new parent does is not ours to say.
func ended(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}
