// SPDX-License-Identifier: Apache-2.0

// Package avisim is a simulated Avi Controller: a real HTTPS server on loopback, good enough that a client which works
// against it works against a Controller on the paths that L4 needs.
//
// It is written from published schemas, documents, client code and recorded traffic only. Each behaviour carries the
// grade of what is known about it:
//
//   - recorded: seen in traffic of a real Controller;
//   - documented: written in a schema, a product document or a client that depends on it;
//   - inferred: follows from several documented facts;
//   - unverified: a guess, made so that the simulator can answer at all. No client may depend on it.
//
// # What is inside
//
// A [Server] puts packages of one idea each together. A request comes in at Server.ServeHTTP, passes the faults (package fault),
// authentication and the version and tenant gates (package api), and ends in a read or in a write of the world (package world), whose
// pipeline is gate, patch, tier, references, defaults, uniqueness, rules, addresses, commit; the types and fields are package schema's.
// Then it is logged (package record) and answered. The whole world is behind one read-write lock, so that every answer shows
// one consistent moment; injected latency is slept outside of it.
//
// # What a test can do beside speaking HTTP
//
// Inject adds a [Fault], which is conditions and some of the effects of [EffectTable], and Run runs a timeline of them; Edit, Create and
// Remove act as another administrator would; SetServerHealth moves pools and virtual services up and down; Requests, Counters, Unexpected
// and HAR show what clients did. Package control puts all of that on a listener for people and scripts.
package avisim
