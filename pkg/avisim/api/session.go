// SPDX-License-Identifier: Apache-2.0

package api

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/schema"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/world"
)

const (
	sessionLife = 24 * time.Hour       // cookie's Max-Age: recorded
	csrfLife    = 364 * 24 * time.Hour // recorded
	cookieChars = "abcdefghijklmnopqrstuvwxyz0123456789"
	maxHours    = 87600 // of a user token: documented
)

// session is one login.
type session struct {
	user    string
	csrf    string
	made    time.Time
	used    time.Time
	swapped bool // the password changed under it: answered once with 419, then gone
}

// token is a user token of /api/user-token.
type token struct {
	id, secret, user string
	hours            int
	expires          time.Time
	single           bool
}

// failures counts the logins of a user that failed in a row.
type failures struct {
	count  int
	locked time.Time // until then
}

// Accounts are the sessions, tokens and lock-outs of the users; the users themselves, and their passwords, are objects of the world. The
// lock may be held while the world's is taken, but not the other way round.
type Accounts struct {
	world  *world.World
	strict atomic.Bool

	mu       sync.Mutex
	sessions map[string]*session
	failures map[string]failures
	tokens   []token
	locked   map[string]int // users whose logins are refused, by how many faults
}

func newAccounts(w *world.World) (*Accounts, error) {
	s := &Accounts{world: w, sessions: map[string]*session{}, failures: map[string]failures{}, locked: map[string]int{}}
	return s, errors.Join(w.Keep("sessions", s.saveSessions, s.loadSessions), w.Keep("tokens", s.saveTokens, s.loadTokens))
}

// account is what the store says about a user, with the settings that apply to its sessions.
type account struct {
	object      *world.Object
	password    string
	active      bool
	idle, force time.Duration // 0: never
	sessions    int           // most at a time, 0: unlimited
	maxFailures int           // before a lock-out, 0: never
	lockFor     time.Duration
	basic       bool
}

// account looks a user up; object is nil if there is none. Evidence: the fields and their defaults are documented.
func (s *Accounts) account(name string) (a account) {
	s.world.Read(func(r *world.Reader) {
		system, controller := r.Singleton("systemconfiguration"), r.Singleton("controllerproperties")
		a.idle = time.Duration(doc.Int(controller.Body, "api_idle_timeout")) * time.Minute
		a.sessions = doc.Int(controller.Body, "max_concurrent_sessions")
		a.force = time.Duration(doc.Int(system.Body, "portal_configuration", "api_force_timeout")) * time.Hour
		a.basic = doc.At(system.Body, "portal_configuration", "allow_basic_authentication") == true
		if a.object = r.User(name); a.object == nil {
			return
		}
		body := a.object.Body
		a.password, a.active = doc.Str(body, "password"), doc.Bool(body, "is_active", true)
		profile := r.Store.Get(doc.RefAt(body, "user_profile_ref"))
		if profile == nil {
			profile = r.Store.Lookup("useraccountprofile", "Default-User-Account-Profile", world.Scope{Tenant: world.AdminTenant})
		}
		if profile != nil {
			a.maxFailures = doc.Int(profile.Body, "max_login_failure_count")
			a.lockFor = time.Duration(doc.Int(profile.Body, "account_lock_timeout")) * time.Minute
			if n := doc.Int(profile.Body, "max_concurrent_sessions"); n > 0 {
				a.sessions = n
			}
		}
	})
	return a
}

// secret makes a cookie value of the recorded form: 32 characters.
func secret() string {
	b := make([]byte, 32)
	rand.Read(b) // never fails
	for i := range b {
		b[i] = cookieChars[int(b[i])%len(cookieChars)]
	}
	return string(b)
}

// login answers POST /login. Evidence: recorded for JSON and for form bodies; the tenant header is ignored. That failures
// lock the account is documented, the text of a locked one is unverified.
func login(c *Call) *Answer { return c.api.accounts.login(c) }

func (s *Accounts) login(c *Call) *Answer {
	if s.strict.Load() { // documented by an issue
		if k, err := c.Request.Cookie("csrftoken"); err == nil && c.Request.Header.Get("X-CSRFToken") != k.Value {
			return Plain(http.StatusUnauthorized, "CSRF token missing or incorrect.")
		}
	}
	user, password, tok := credentials(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	a, bad := s.verify(user, password, tok)
	if bad != nil {
		return bad
	}
	now, id := s.world.Now(), secret()
	s.sessions[id] = &session{user: a.object.Name, csrf: secret(), made: now, used: now}
	s.limitSessions(a)
	out := Reply(http.StatusOK, loginBody(c, a.object))
	s.cookies(out, id, s.sessions[id].csrf)
	return out
}

// verify checks credentials and counts failures.
func (s *Accounts) verify(user, password, tok string) (account, *Answer) {
	a := s.account(user)
	f, now := s.failures[user], s.world.Now()
	if now.Before(f.locked) || s.locked[user] > 0 {
		return a, Refused(http.StatusUnauthorized, "User account is locked")
	}
	if a.object != nil && a.active &&
		(password != "" && password == a.password || s.redeem(a.object.Name, password) || s.redeem(a.object.Name, tok)) {
		delete(s.failures, user)
		return a, nil
	}
	if a.object != nil {
		f.count++
		if a.maxFailures > 0 && f.count >= a.maxFailures {
			f = failures{locked: now.Add(a.lockFor)}
		}
		s.failures[user] = f
	}
	return a, Refused(http.StatusUnauthorized, "Invalid credentials")
}

// limitSessions ends the user's oldest sessions beyond the limit. Evidence: that there is a limit is documented, what
// happens at it is unverified.
func (s *Accounts) limitSessions(a account) {
	if a.sessions == 0 {
		return
	}
	var mine []string
	for id, x := range s.sessions {
		if x.user == a.object.Name {
			mine = append(mine, id)
		}
	}
	slices.SortFunc(mine, func(a, b string) int { return s.sessions[a].made.Compare(s.sessions[b].made) })
	for _, id := range mine[:max(0, len(mine)-a.sessions)] {
		delete(s.sessions, id)
	}
}

func credentials(c *Call) (user, password, tok string) {
	var in struct{ Username, Password, Token string }
	if json.Unmarshal(c.Body, &in) == nil {
		return in.Username, in.Password, in.Token
	}
	form, err := url.ParseQuery(string(c.Body))
	if err != nil {
		return "", "", ""
	}
	return form.Get("username"), form.Get("password"), form.Get("token")
}

// redeem reports whether the secret is a valid token of the user, and uses up a single-use one.
func (s *Accounts) redeem(user, secret string) bool {
	for i, t := range s.tokens {
		if secret == "" || t.secret != secret || t.user != user || !t.single && s.world.Now().After(t.expires) {
			continue
		}
		if t.single {
			s.tokens = slices.Delete(s.tokens, i, i+1)
		}
		return true
	}
	return false
}

// loginBody is the body of a login answer. Evidence: recorded.
func loginBody(c *Call, user *world.Object) (out map[string]any) {
	c.api.world.Read(func(s *world.Reader) {
		r := c.renderer(s, false)
		var tenants []any
		for _, o := range s.Store.All("tenant") {
			shown := r.Object(o)
			if o.UUID == world.AdminTenant { // recorded: the login's answer lacks it for this one
				delete(shown, "_last_modified")
			}
			tenants = append(tenants, shown)
		}
		system, controller := s.Singleton("systemconfiguration"), s.Singleton("controllerproperties")
		config := s.Renderer("", false).Object(system) // recorded: the copy in the login answer has relative references
		config["url"] = "/api/systemconfiguration"
		delete(config, "name")
		out = map[string]any{
			"user_initialized": true,
			"version":          build(s.Version()),
			"user": map[string]any{"uuid": user.UUID, "username": doc.Str(user.Body, "username"), "name": user.Name,
				"full_name": doc.Str(user.Body, "full_name"), "email": doc.Str(user.Body, "email"),
				"local": doc.Bool(user.Body, "local", true), "is_superuser": doc.Bool(user.Body, "is_superuser", false),
				"default_tenant_ref": r.Value(user.Body["default_tenant_ref"]), "ui_property": "{}"},
			"tenants":             tenants,
			"system_config":       config,
			"controller":          map[string]any{"api_idle_timeout": doc.Int(controller.Body, "api_idle_timeout")},
			"session_cookie_name": "avi-sessionid",
		}
	})
	return out
}

// sameSiteSince is the first version whose session cookies were recorded with SameSite.
const sameSiteSince schema.Version = 20<<48 | 1<<32 | 5<<16

// cookies sets the session's cookies on an answer: on every authenticated one, the CSRF token on login only. Evidence:
// recorded, with their order and attributes.
func (s *Accounts) cookies(a *Answer, id, csrf string) {
	now := s.world.Now()
	if a.Header == nil {
		a.Header = http.Header{}
	}
	set := func(name, value string, life time.Duration, only, site string) {
		a.Header.Add("Set-Cookie", fmt.Sprintf("%s=%s; expires=%s; %sMax-Age=%d; Path=/; %sSecure", name, value,
			now.Add(life).UTC().Format("Mon, 02-Jan-2006 15:04:05 GMT"), only, int(life.Seconds()), site))
	}
	if csrf != "" {
		set("csrftoken", csrf, csrfLife, "", "")
	}
	site := ""
	if s.world.Version() >= sameSiteSince {
		site = "SameSite=None; "
	}
	set("avi-sessionid", id, sessionLife, "HttpOnly; ", site)
	set("sessionid", id, sessionLife, "HttpOnly; ", site)
}

// renew sets the session's cookies on the answer to an authenticated request; with basic authentication there is no session,
// and they say so. Evidence: recorded.
func (s *Accounts) renew(c *Call, a *Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions[c.session] != nil || c.session == noSession {
		s.cookies(a, c.session, "")
	}
}

// noSession is the value of the session cookies with basic authentication. Evidence: recorded.
const noSession = "None"

func logout(c *Call) *Answer {
	s := c.api.accounts
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, c.session)
	return &Answer{Status: http.StatusOK, Body: []byte("{}")}
}

// authenticate finds the request's session, or the answer that refuses it. Evidence: texts and statuses are recorded; a
// CSRF token that matches its cookie but not the session is refused in a recording.
func (s *Accounts) authenticate(c *Call) *Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if name, password, ok := c.Request.BasicAuth(); ok && s.account(name).basic { // recorded: neither CSRF token nor tenant are needed
		a, bad := s.verify(name, password, "")
		if bad == nil {
			c.user, c.session = a.object.Name, noSession
		}
		return bad
	}
	mine := s.find(c)
	sent := c.Request.Header.Get("X-CSRFToken")
	switch {
	case !c.reads() && (sent == "" || mine != nil && sent != mine.csrf):
		a := Plain(http.StatusUnauthorized, "CSRF token missing or incorrect.")
		a.bare = true // recorded, and so are the cookies
		if mine != nil {
			s.cookies(a, c.session, "")
		}
		return a
	case mine == nil:
		return detail(http.StatusUnauthorized, "Authentication credentials were not provided.")
	case mine.swapped: // documented by an issue and by older recordings: 419 once, with new cookies
		delete(s.sessions, c.session)
		a := Refused(419, "Need to switch session")
		a.Set("Content-Type", "text/html; charset=utf-8")
		s.cookies(a, secret(), secret()) // recorded; that they are good for a login only is inferred
		return a
	}
	mine.used = s.world.Now()
	c.user = mine.user
	return nil
}

// find returns the session that a call's cookies name, nil if there is none, and ends those that are over. A client may send stale cookies
// of the same name before the valid one.
func (s *Accounts) find(c *Call) (mine *session) {
	now := s.world.Now()
	for _, k := range c.Request.Cookies() {
		if k.Name != "sessionid" && k.Name != "avi-sessionid" {
			continue
		}
		x := s.sessions[k.Value]
		if x == nil || x == mine {
			continue
		}
		a := s.account(x.user)
		if a.object == nil || !a.active || a.idle > 0 && now.Sub(x.used) > a.idle || a.force > 0 && now.Sub(x.made) > a.force {
			delete(s.sessions, k.Value)
			continue
		}
		mine, c.session = x, k.Value
	}
	return mine
}

// userTokens serves /api/user-token. Evidence: documented; the answer's keys beside token and expires_at are unverified, and
// so is that a user sees its own tokens only.
func userTokens(c *Call) *Answer {
	s := c.api.accounts
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.Request.Method != http.MethodPost {
		results := []any{}
		for _, t := range s.tokens {
			if t.user == c.user {
				shown := t.show()
				shown["token"] = t.secret // a client finds its own by it
				results = append(results, shown)
			}
		}
		return Reply(http.StatusOK, map[string]any{"count": len(results), "results": results})
	}
	in, err := doc.Decode(c.Body)
	if err != nil {
		return detail(http.StatusBadRequest, "JSON parse error - "+err.Error())
	}
	hours, err := strconv.Atoi(doc.Text(in["hours"]))
	if err != nil || hours < 0 || hours > maxHours {
		return Refused(http.StatusBadRequest, "Invalid hours %v, must be 0 to %d", in["hours"], maxHours)
	}
	t := token{id: "authtoken-" + uuid.NewString(), secret: secret(), user: c.user, hours: hours, single: hours == 0,
		expires: s.world.Now().Add(time.Duration(hours) * time.Hour)}
	s.tokens = append(s.tokens, t)
	out := t.show()
	out["token"] = t.secret
	return Reply(http.StatusCreated, out)
}

func (t token) show() map[string]any {
	return map[string]any{"uuid": t.id, "username": t.user, "hours": t.hours, "expires_at": t.expires.UTC().Format(time.RFC3339Nano)}
}

// userToken serves /api/user-token/<id>.
func userToken(c *Call) *Answer {
	s := c.api.accounts
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.tokens, func(t token) bool { return t.id == c.Route.UUID && t.user == c.user })
	switch {
	case i < 0:
		return Refused(http.StatusNotFound, "AuthToken object not found!")
	case c.Request.Method == http.MethodDelete:
		s.tokens = slices.Delete(s.tokens, i, i+1)
		return &Answer{Status: http.StatusNoContent}
	}
	return Reply(http.StatusOK, s.tokens[i].show())
}

// changeAccount serves PUT and PATCH of /api/useraccount: a password change, after which the user's other sessions meet
// 419 and then 401. Evidence: recorded: an empty answer, and that the session itself lives on; documented by issues: what
// happens to the others; unverified: the refusal of a wrong old password.
func changeAccount(c *Call) *Answer {
	s := c.api.accounts
	in, bad := parse(c.Body)
	if bad != nil {
		return bad
	}
	if nested, ok := in["replace"].(map[string]any); ok && c.Request.Method == http.MethodPatch {
		in = nested
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	password := doc.Str(in, "password")
	if password != "" && doc.Str(in, "old_password") != s.account(c.user).password {
		return Refused(http.StatusBadRequest, "Invalid old password")
	}
	if err := s.world.Admin().Edit("user", world.AdminTenant, c.user, func(m map[string]any) {
		for _, k := range []string{"password", "full_name", "email"} {
			if v := in[k]; v != nil && v != "" {
				m[k] = v
			}
		}
	}); err != nil {
		return Refused(http.StatusBadRequest, "%v", err)
	}
	if password != "" {
		for id, x := range s.sessions {
			x.swapped = x.swapped || x.user == c.user && id != c.session
		}
	}
	return &Answer{Status: http.StatusOK}
}

// ownAccount serves GET of /api/useraccount: the user's own data.
func ownAccount(c *Call, s *world.Reader) *Answer {
	o := s.User(c.user)
	if o == nil { // deleted since it was authenticated
		return Reply(http.StatusOK, map[string]any{})
	}
	return Reply(http.StatusOK, c.renderer(s, false).Object(o))
}

// ExpireSessions ends all sessions: the next request of each client is answered with 401.
func (s *Accounts) ExpireSessions() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.sessions)
}

// SetPassword changes the password of a user, or makes a superuser of that name if there is none, and ends the user's sessions.
func (s *Accounts) SetPassword(username, password string) {
	s.world.Admin().SetPassword(username, password)
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, x := range s.sessions {
		if x.user == username {
			delete(s.sessions, id)
		}
	}
}

// LockAccount locks a user out for a time, as too many failed logins do, or lets it in again with 0.
func (s *Accounts) LockAccount(username string, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures[username] = failures{locked: s.world.Now().Add(d)}
}

// SetStrictLogin makes a login fail that brings a csrftoken cookie and no matching header, as some releases do.
func (s *Accounts) SetStrictLogin(on bool) { s.strict.Store(on) }

// Sessions returns the number of live sessions, so that a test can see a login stampede.
func (s *Accounts) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// Age makes all sessions look as if they were not used (idle) or not made (force) for very long, or ends them (kill).
func (s *Accounts) Age(how string) {
	switch how {
	case "kill":
		s.ExpireSessions()
	case "idle":
		s.each(func(x *session) { x.used = time.Time{} })
	case "force":
		s.each(func(x *session) { x.made = time.Time{} })
	}
}

// SwitchSessions makes each session be answered once with 419, and be gone then.
func (s *Accounts) SwitchSessions() { s.each(func(x *session) { x.swapped = true }) }

// RotateCSRF gives all sessions other CSRF tokens.
func (s *Accounts) RotateCSRF() { s.each(func(x *session) { x.csrf = secret() }) }

func (s *Accounts) each(do func(*session)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.sessions {
		do(x)
	}
}

// ChangePassword changes the password of an existing user; the user's sessions meet 419 once (switch), are gone
// (kill), or live on.
func (s *Accounts) ChangePassword(user, password, sessions string) error {
	user = cmp.Or(user, s.world.Username())
	if err := s.world.Admin().Edit("user", world.AdminTenant, user, func(m map[string]any) { m["password"] = password }); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, x := range s.sessions {
		if x.user != user {
			continue
		}
		switch sessions {
		case "switch":
			x.swapped = true
		case "kill":
			delete(s.sessions, id)
		}
	}
	return nil
}

// ExpireTokens makes all user tokens expired.
func (s *Accounts) ExpireTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens = slices.DeleteFunc(s.tokens, func(t token) bool { return t.single })
	for i := range s.tokens {
		s.tokens[i].expires = time.Time{}
	}
}

// Lock refuses the logins of a user until the returned function is called as often as Lock was.
func (s *Accounts) Lock(user string) (release func()) {
	user = cmp.Or(user, s.world.Username())
	add := func(n int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.locked[user] += n
	}
	add(1)
	return func() { add(-1) }
}

// What a state file keeps of sessions and tokens.
type (
	savedSession struct {
		User    string    `json:"user"`
		CSRF    string    `json:"csrf"`
		Made    time.Time `json:"made"`
		Used    time.Time `json:"used"`
		Swapped bool      `json:"swapped,omitempty"`
	}
	savedToken struct {
		ID      string    `json:"id"`
		Secret  string    `json:"secret"`
		User    string    `json:"user"`
		Hours   int       `json:"hours"`
		Expires time.Time `json:"expires"`
		Single  bool      `json:"single,omitempty"`
	}
)

func (s *Accounts) saveSessions() any {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]savedSession{}
	for id, x := range s.sessions {
		out[id] = savedSession{x.user, x.csrf, x.made, x.used, x.swapped}
	}
	return out
}

func (s *Accounts) loadSessions(raw json.RawMessage) error {
	var in map[string]savedSession
	if err := json.Unmarshal(raw, &in); err != nil {
		return fmt.Errorf("its sessions: %w", err)
	}
	for id, x := range in {
		s.sessions[id] = &session{user: x.User, csrf: x.CSRF, made: x.Made, used: x.Used, swapped: x.Swapped}
	}
	return nil
}

func (s *Accounts) saveTokens() any {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []savedToken{}
	for _, t := range s.tokens {
		out = append(out, savedToken{t.id, t.secret, t.user, t.hours, t.expires, t.single})
	}
	return out
}

func (s *Accounts) loadTokens(raw json.RawMessage) error {
	var in []savedToken
	if err := json.Unmarshal(raw, &in); err != nil {
		return fmt.Errorf("its tokens: %w", err)
	}
	for _, t := range in {
		s.tokens = append(s.tokens, token{id: t.ID, secret: t.Secret, user: t.User, hours: t.Hours, expires: t.Expires, single: t.Single})
	}
	return nil
}
