// SPDX-License-Identifier: Apache-2.0

package avi

// NewUnconfigured returns a Client for a program that learns of its Controller later, by Reconfigure. A call made before
// fails as a Controller's does that can't be reached: its host is a name that RFC 2606 keeps from ever existing.
func NewUnconfigured(opts ...Option) (*Client, error) {
	return New(Config{Host: "unconfigured.invalid", Username: "nobody", Password: "nothing"}, opts...)
}
