// SPDX-License-Identifier: Apache-2.0

// Package avi is the operator's client of an Avi Controller, and the only package that talks to one.
//
// A Client makes single calls: it creates, patches, replaces, deletes, reads and lists objects as JSON. It logs in when
// it has to, keeps to limits of concurrency, rate and time, stops calling a Controller that does not answer, and turns
// every failure into an *Error which says what kind of failure it is (Class), which one (Reason), and whether the
// Controller may have done the work all the same (Ambiguous). It decides nothing: whether to try again, and what to
// look at first, is the caller's business, with two exceptions, of requests that were certainly not carried out. One that was
// refused because the session had ended (401, 419) is repeated once after a new login. One that was refused as one too many
// (429) is repeated in its turn, twice at most.
//
// # Turns
//
// All calls pass one gate. It learns from the answers how many calls at a time and in a second the Controller takes (throttle),
// lets changes of what exists go first, and shares the rest between the namespaces; in each the runs that WithRun names are
// finished one after the other.
//
// # Sessions
//
// Login and transport are alb-sdk's go/session, used so that its traps stay shut:
//
//   - Each of Config.Concurrency workers has an AviSession of its own and serves one call at a time, since an AviSession
//     is not safe for parallel use and knows no context. The worker is the session's HTTP client (session.SetClient): it
//     attaches the call's context, sends the request, and keeps status, Retry-After and body, of which the SDK loses half.
//   - All workers share one login at the Controller. The SDK's POST /login ends in the worker, which performs it only
//     if there is no valid login, once for all who wait, and otherwise answers from memory. Failed logins back off from
//     1 s to 60 s, and "Invalid credentials" ends them until Reconfigure, because accounts get locked.
//   - The SDK sees no network error and no 5xx status, so that it neither retries nor dumps requests into its log.
//   - The SDK's typed clients and its helpers for names, lists and versions are not used: they read only the first page,
//     drop filters, don't escape values and panic on unexpected answers.
//
// go/session logs through glog, which can't be silenced by flags. The main go.mod replaces it by the package in
// ./glog that drops everything; without the replace directive the client works, and the SDK chats on stderr.
//
// # Versions
//
// The Controller filters objects by the X-Avi-Version header and refuses one newer than itself. The client asks for the
// Controller's version (GET /api/initial-data, which needs no session) before the first login and pins the lower of
// that and Config.Version (by default DefaultVersion, at most MaxVersion) for all calls.
package avi
