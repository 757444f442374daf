// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestRatios(t *testing.T) {
	for _, test := range []struct {
		name    string
		weights []int64
		want    []uint32
	}{
		{"one", []int64{7}, []uint32{1}},
		{"what they have in common is divided out", []int64{90, 10}, []uint32{9, 1}},
		{"zero stays zero", []int64{0, 5}, []uint32{0, 1}},
		{"all zero", []int64{0, 0}, []uint32{0, 0}},
		{"as they are up to 1000", []int64{1000, 1}, []uint32{1000, 1}},
		{"beyond it scaled and rounded to the nearest", []int64{1001, 500}, []uint32{1000, 500}},
		{"never to zero", []int64{1_000_000, 1}, []uint32{1000, 1}},
		{"large with much in common", []int64{1_000_000, 250_000}, []uint32{4, 1}},
	} {
		if got := ratios(test.weights); !slices.Equal(got, test.want) {
			t.Errorf("%s: %v becomes %v, want %v", test.name, test.weights, got, test.want)
		}
	}
}

// TestRatiosKeepShares holds the promise of the documentation: what a share is off by.
func TestRatiosKeepShares(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		weights := make([]int64, 1+random.IntN(17))
		for i := range weights {
			weights[i] = random.Int64N([]int64{2, 12, 1001, 1_000_001}[random.IntN(4)])
		}
		got, largest := ratios(weights), slices.Max(weights)
		for i, w := range weights {
			exact := 0.0
			if largest > 0 {
				exact = float64(w) / float64(largest)
			}
			share := 0.0
			if top := slices.Max(got); top > 0 {
				share = float64(got[i]) / float64(top)
			}
			// A two-thousandth by rounding, and rounded up to a thousandth where it would vanish.
			if limit := 0.0005; math.Abs(exact-share) > limit+1e-9 && (exact >= limit || share > 0.001+1e-9) {
				t.Fatalf("%v becomes %v: share %d of the largest is %v, not %v", weights, got, i, share, exact)
			}
			if (w == 0) != (got[i] == 0) || got[i] > ratioMax {
				t.Fatalf("%v becomes %v", weights, got)
			}
		}
	}
}
