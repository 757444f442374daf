// SPDX-License-Identifier: Apache-2.0

//go:build !race

package e2e

// raceDetector reports whether these tests were built with the race detector; the operator is then too.
const raceDetector = false
