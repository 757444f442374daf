// Package avisim is a simulated Avi Controller: a real HTTPS server on loopback, good enough that a client which works
// against it works against a Controller on the paths that L4 needs.
//
// It is written from published schemas, documents, client code and recorded traffic only. Each behaviour carries the
// grade of what is known about it, in the words of the project's record of the API:
//
//   - recorded: seen in traffic of a real Controller;
//   - documented: written in a schema, a product document or a client that depends on it;
//   - inferred: follows from several documented facts;
//   - unverified: a guess, made so that the simulator can answer at all. No client may depend on it.
//
// # What is inside
//
// A [Server] owns one store of objects (store.go) and a table of object types and their fields (schema.txt, made from the
// published schema by hack/avisim-schema; types.go adds what that does not say). A request passes faults (faults.go),
// authentication (session.go), the version and tenant gates (version.go, route.go) and ends in a read (list.go, runtime.go,
// singleton.go) or in the write pipeline (write.go): version gate, patch, tier, references, defaults, uniqueness, rules
// (rules.go), addresses (ipam.go), commit. All of the state is behind one read-write lock, so that every answer shows one
// consistent moment; injected latency is slept outside of it.
//
// # What a test can do beside speaking HTTP
//
// [Server.Inject] adds a [Fault], which is conditions and some of the effects of [EffectTable], and [Server.Run] runs a timeline
// of them; [Server.Edit], [Server.Create] and [Server.Remove] act as another administrator
// would; [Server.SetServerHealth] moves pools and virtual services up and down; [Server.Requests],
// [Server.Counters], [Server.Unexpected] and [Server.HAR] show what clients did. Package control puts all of that on a listener
// for people and scripts.
package avisim
