// SPDX-License-Identifier: Apache-2.0

package command

import (
	"log"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/record"
)

// logShare is the part of a memory limit that the request log takes at most if nobody says how much it may take.
const logShare = 4

// limitMemory makes the garbage collector keep within nine tenths of the provider's limit, unless GOMEMLIMIT says otherwise.
// It returns that limit, 0 if there is none.
func limitMemory(limit memlimit.Provider) int64 {
	set, err := memlimit.SetGoMemLimitWithOpts(memlimit.WithProvider(limit))
	if err != nil { // without a cgroup, or one without a limit, there is nothing to keep within
		return 0
	}
	return set
}

// logBytes is the memory for the request log: so many MiB, or if nothing is given the default, or less where memory is limited.
func logBytes(mib int, given bool, limit int64) int {
	if given || limit <= 0 {
		return mib << 20
	}
	return min(mib<<20, int(limit/logShare))
}

// boundMemory settles how much memory the process and its request log take.
func (v *serving) boundMemory() {
	limit := limitMemory(memlimit.FromCgroup)
	v.options.LogBytes = logBytes(v.logMemory, v.given("log-memory"), limit)
	if limit > 0 {
		log.Printf("keeping within %d MiB of memory, %d of them for the request log", limit>>20, v.options.LogBytes>>20)
	}
}

const defaultLogMemory = record.DefaultLimit >> 20
