// SPDX-License-Identifier: Apache-2.0

package command

import (
	"errors"
	"runtime/debug"
	"testing"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// TestLimitMemory shows that the garbage collector learns of a limit, and that nothing happens without one.
func TestLimitMemory(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	for _, none := range []error{memlimit.ErrNoCgroup, memlimit.ErrNoLimit, errors.New("no file")} {
		if got := limitMemory(func() (uint64, error) { return 0, none }); got != 0 || debug.SetMemoryLimit(-1) != before {
			t.Errorf("%v: %d, and the limit is %d", none, got, debug.SetMemoryLimit(-1))
		}
	}
	const want = 512 << 20 * 9 / 10
	if got := limitMemory(memlimit.Limit(512 << 20)); got != want || debug.SetMemoryLimit(-1) != want {
		t.Errorf("%d, and the limit is %d, want %d", got, debug.SetMemoryLimit(-1), int64(want))
	}
}

func TestLogBytes(t *testing.T) {
	for _, tt := range []struct {
		mib   int
		given bool
		limit int64
		want  int
	}{
		{128, false, 0, 128 << 20},
		{128, false, 4 << 30, 128 << 20},
		{128, false, 256 << 20, 64 << 20},
		{128, true, 256 << 20, 128 << 20},
		{8, false, 256 << 20, 8 << 20},
	} {
		if got := logBytes(tt.mib, tt.given, tt.limit); got != tt.want {
			t.Errorf("%+v: %d", tt, got)
		}
	}
}
