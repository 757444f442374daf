// SPDX-License-Identifier: Apache-2.0

//go:build !race

package controllers

// raceDetector reports whether these tests were built with the race detector.
const raceDetector = false
