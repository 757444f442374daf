package avisim

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
)

const (
	sessionLife = 24 * time.Hour       // cookie's Max-Age: recorded
	csrfLife    = 364 * 24 * time.Hour // recorded
	cookieChars = "abcdefghijklmnopqrstuvwxyz0123456789"
	maxHours    = 87600 // of a user token: documented
)

// session is one login. Sessions, tokens and failures are guarded by Server.sessionMu, which may be held while Server.mu is
// taken, but not the other way round. Users and their passwords are objects of the store.
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

// account is what the store says about a user, with the settings that apply to its sessions.
type account struct {
	object      *object
	password    string
	active      bool
	idle, force time.Duration // 0: never
	sessions    int           // most at a time, 0: unlimited
	maxFailures int           // before a lock-out, 0: never
	lockFor     time.Duration
	basic       bool
}

// account looks a user up; object is nil if there is none. Evidence: the fields and their defaults are documented.
func (s *Server) account(name string) account {
	s.mu.RLock()
	defer s.mu.RUnlock()
	system, controller := s.store.get(ref{"systemconfiguration", "default"}), s.store.get(ref{"controllerproperties", "default"})
	a := account{
		idle: time.Duration(integer(controller.body, "api_idle_timeout")) * time.Minute, sessions: integer(controller.body, "max_concurrent_sessions"),
		force: time.Duration(integer(system.body, "portal_configuration", "api_force_timeout")) * time.Hour,
		basic: at(system.body, "portal_configuration", "allow_basic_authentication") == true,
	}
	if a.object = s.user(name); a.object == nil {
		return a
	}
	body := a.object.body
	a.password, a.active = str(body, "password"), boolean(body, "is_active", true)
	profile := s.store.get(refAt(body, "user_profile_ref"))
	if profile == nil {
		profile = s.store.lookup("useraccountprofile", "Default-User-Account-Profile", scope{tenant: adminTenant})
	}
	if profile != nil {
		a.maxFailures, a.lockFor = integer(profile.body, "max_login_failure_count"), time.Duration(integer(profile.body, "account_lock_timeout"))*time.Minute
		if n := integer(profile.body, "max_concurrent_sessions"); n > 0 {
			a.sessions = n
		}
	}
	return a
}

// user finds a user by its name or, as documented for both, its username.
func (s *Server) user(name string) *object {
	if name == "" {
		return nil
	}
	if objs := s.store.named("user", adminTenant, name); len(objs) > 0 {
		return objs[0]
	}
	for _, o := range s.store.shelves["user"].ordered {
		if str(o.body, "username") == name {
			return o
		}
	}
	return nil
}

// defaultTenant is the tenant of requests that name none. Evidence: documented.
func (s *Server) defaultTenant(user string) string {
	if o := s.user(user); o != nil {
		if r := refAt(o.body, "default_tenant_ref"); r.typ == "tenant" && s.store.get(r) != nil {
			return r.uuid
		}
	}
	return adminTenant
}

// deriveUser fills what a client may leave out. Evidence: inferred.
func deriveUser(w *write) {
	keepSecrets(w)
	for k, v := range map[string]any{"username": w.name, "full_name": "", "email": "", "local": true, "is_superuser": false, "is_active": true,
		"default_tenant_ref": ref{"tenant", adminTenant}} {
		if w.body[k] == nil {
			w.body[k] = v
		}
	}
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
func (s *Server) login(c *call) *answer {
	if s.strictLogin.Load() { // documented by an issue
		if k, err := c.r.Cookie("csrftoken"); err == nil && c.r.Header.Get("X-CSRFToken") != k.Value {
			return plain(http.StatusUnauthorized, "CSRF token missing or incorrect.")
		}
	}
	user, password, tok := credentials(c)
	s.sessionMu.Lock()
	defer s.sessionMu.Unlock()
	a, bad := s.verify(user, password, tok)
	if bad != nil {
		return bad
	}
	now, id := s.now(), secret()
	s.sessions[id] = &session{user: a.object.name, csrf: secret(), made: now, used: now}
	s.limitSessions(a)
	out := reply(http.StatusOK, s.identity(c, a.object))
	s.cookies(out, id, s.sessions[id].csrf)
	return out
}

// verify checks credentials and counts failures.
func (s *Server) verify(user, password, tok string) (account, *answer) {
	a := s.account(user)
	f, now := s.failures[user], s.now()
	if now.Before(f.locked) || s.locked[user] > 0 {
		return a, refuse(http.StatusUnauthorized, "User account is locked").answer()
	}
	if a.object != nil && a.active && (password != "" && password == a.password || s.redeem(a.object.name, password) || s.redeem(a.object.name, tok)) {
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
	return a, refuse(http.StatusUnauthorized, "Invalid credentials").answer()
}

// limitSessions ends the user's oldest sessions beyond the limit. Evidence: that there is a limit is documented, what
// happens at it is unverified.
func (s *Server) limitSessions(a account) {
	if a.sessions == 0 {
		return
	}
	var mine []string
	for id, x := range s.sessions {
		if x.user == a.object.name {
			mine = append(mine, id)
		}
	}
	slices.SortFunc(mine, func(a, b string) int { return s.sessions[a].made.Compare(s.sessions[b].made) })
	for _, id := range mine[:max(0, len(mine)-a.sessions)] {
		delete(s.sessions, id)
	}
}

func credentials(c *call) (user, password, tok string) {
	var in struct{ Username, Password, Token string }
	if json.Unmarshal(c.body, &in) == nil {
		return in.Username, in.Password, in.Token
	}
	form, err := url.ParseQuery(string(c.body))
	if err != nil {
		return "", "", ""
	}
	return form.Get("username"), form.Get("password"), form.Get("token")
}

// redeem tells if the secret is a valid token of the user, and uses up a single-use one.
func (s *Server) redeem(user, secret string) bool {
	for i, t := range s.tokens {
		if secret == "" || t.secret != secret || t.user != user || !t.single && s.now().After(t.expires) {
			continue
		}
		if t.single {
			s.tokens = slices.Delete(s.tokens, i, i+1)
		}
		return true
	}
	return false
}

// identity is the body of a login answer. Evidence: recorded.
func (s *Server) identity(c *call, user *object) map[string]any {
	s.mu.RLock()
	defer s.mu.RUnlock()
	r := c.renderer(false)
	var tenants []any
	for _, o := range s.store.shelves["tenant"].ordered {
		tenants = append(tenants, r.object(o))
	}
	system, controller := s.store.get(ref{"systemconfiguration", "default"}), s.store.get(ref{"controllerproperties", "default"})
	config := (&renderer{store: s.store}).object(system) // recorded: the copy in the login answer has relative references
	config["url"] = "/api/systemconfiguration"
	delete(config, "name")
	return map[string]any{
		"user_initialized": true,
		"version":          s.build(),
		"user": map[string]any{"uuid": user.uuid, "username": str(user.body, "username"), "name": user.name, "full_name": str(user.body, "full_name"),
			"email": str(user.body, "email"), "local": boolean(user.body, "local", true), "is_superuser": boolean(user.body, "is_superuser", false),
			"default_tenant_ref": r.value(user.body["default_tenant_ref"]), "ui_property": "{}"},
		"tenants":             tenants,
		"system_config":       config,
		"controller":          map[string]any{"api_idle_timeout": integer(controller.body, "api_idle_timeout")},
		"session_cookie_name": "avi-sessionid",
	}
}

// sameSiteSince is the first version whose session cookies were recorded with SameSite.
const sameSiteSince version = 20<<48 | 1<<32 | 5<<16

// cookies sets the session's cookies on an answer: on every authenticated one, the CSRF token on login only. Evidence:
// recorded, with their order and attributes.
func (s *Server) cookies(a *answer, id, csrf string) {
	now := s.now()
	if a.header == nil {
		a.header = http.Header{}
	}
	set := func(name, value string, life time.Duration, only, site string) {
		a.header.Add("Set-Cookie", fmt.Sprintf("%s=%s; expires=%s; %sMax-Age=%d; Path=/; %sSecure", name, value,
			now.Add(life).UTC().Format("Mon, 02-Jan-2006 15:04:05 GMT"), only, int(life.Seconds()), site))
	}
	if csrf != "" {
		set("csrftoken", csrf, csrfLife, "", "")
	}
	site := ""
	if s.version >= sameSiteSince {
		site = "SameSite=None; "
	}
	set("avi-sessionid", id, sessionLife, "HttpOnly; ", site)
	set("sessionid", id, sessionLife, "HttpOnly; ", site)
}

// renew sets the session's cookies on the answer to an authenticated request; with basic authentication there is no session,
// and they say so. Evidence: recorded.
func (s *Server) renew(c *call, a *answer) {
	s.sessionMu.Lock()
	defer s.sessionMu.Unlock()
	if s.sessions[c.session] != nil || c.session == noSession {
		s.cookies(a, c.session, "")
	}
}

// noSession is the value of the session cookies with basic authentication. Evidence: recorded.
const noSession = "None"

func (s *Server) logout(c *call) *answer {
	s.sessionMu.Lock()
	defer s.sessionMu.Unlock()
	delete(s.sessions, c.session)
	return &answer{status: http.StatusOK, body: []byte("{}")}
}

// authenticate finds the request's session, or the answer that refuses it. Evidence: texts and statuses are recorded; a
// CSRF token that matches its cookie but not the session is refused in a recording.
func (s *Server) authenticate(c *call) *answer {
	s.sessionMu.Lock()
	defer s.sessionMu.Unlock()
	if name, password, ok := c.r.BasicAuth(); ok && s.account(name).basic { // recorded: neither CSRF token nor tenant are needed
		a, bad := s.verify(name, password, "")
		if bad == nil {
			c.user, c.session = a.object.name, noSession
		}
		return bad
	}
	now := s.now()
	var mine *session
	for _, k := range c.r.Cookies() { // a client may send stale cookies of the same name before the valid one
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
	sent := c.r.Header.Get("X-CSRFToken")
	if !c.reads() && (sent == "" || mine != nil && sent != mine.csrf) {
		a := plain(http.StatusUnauthorized, "CSRF token missing or incorrect.")
		a.bare = true // recorded, and so are the cookies
		if mine != nil {
			s.cookies(a, c.session, "")
		}
		return a
	}
	if mine == nil {
		return detail(http.StatusUnauthorized, "Authentication credentials were not provided.")
	}
	if mine.swapped { // documented by an issue and by older recordings: 419 once, with new cookies
		delete(s.sessions, c.session)
		a := refuse(419, "Need to switch session").answer()
		a.set("Content-Type", "text/html; charset=utf-8")
		s.cookies(a, secret(), secret()) // recorded; that they are good for a login only is inferred
		return a
	}
	mine.used = now
	c.user = mine.user
	return nil
}

// userTokens serves /api/user-token. Evidence: documented; the answer's keys beside token and expires_at are unverified, and
// so is that a user sees its own tokens only.
func (s *Server) userTokens(c *call) *answer {
	s.sessionMu.Lock()
	defer s.sessionMu.Unlock()
	if c.r.Method != http.MethodPost {
		results := []any{}
		for _, t := range s.tokens {
			if t.user == c.user {
				shown := t.show()
				shown["token"] = t.secret // a client finds its own by it
				results = append(results, shown)
			}
		}
		return reply(http.StatusOK, map[string]any{"count": len(results), "results": results})
	}
	in, err := decode(c.body)
	if err != nil {
		return detail(http.StatusBadRequest, "JSON parse error - "+err.Error())
	}
	hours, err := strconv.Atoi(text(in["hours"]))
	if err != nil || hours < 0 || hours > maxHours {
		return refuse(http.StatusBadRequest, "Invalid hours %v, must be 0 to %d", in["hours"], maxHours).answer()
	}
	t := token{id: "authtoken-" + uuid.NewString(), secret: secret(), user: c.user, hours: hours, single: hours == 0,
		expires: s.now().Add(time.Duration(hours) * time.Hour)}
	s.tokens = append(s.tokens, t)
	out := t.show()
	out["token"] = t.secret
	return reply(http.StatusCreated, out)
}

func (t token) show() map[string]any {
	return map[string]any{"uuid": t.id, "username": t.user, "hours": t.hours, "expires_at": t.expires.UTC().Format(time.RFC3339Nano)}
}

// userToken serves /api/user-token/<id>.
func (s *Server) userToken(c *call) *answer {
	s.sessionMu.Lock()
	defer s.sessionMu.Unlock()
	i := slices.IndexFunc(s.tokens, func(t token) bool { return t.id == c.route.uuid && t.user == c.user })
	switch {
	case i < 0:
		return refuse(http.StatusNotFound, "AuthToken object not found!").answer()
	case c.r.Method == http.MethodDelete:
		s.tokens = slices.Delete(s.tokens, i, i+1)
		return &answer{status: http.StatusNoContent}
	}
	return reply(http.StatusOK, s.tokens[i].show())
}

// userAccount serves /api/useraccount: the user's own data, and a password change, after which the user's other sessions meet
// 419 and then 401. Evidence: recorded: an empty answer, and that the session itself lives on; documented by issues: what
// happens to the others; unverified: the refusal of a wrong old password.
func (s *Server) userAccount(c *call) *answer {
	if c.reads() {
		return reply(http.StatusOK, s.ownAccount(c))
	}
	in, bad := parse(c.body)
	if bad != nil {
		return bad
	}
	if nested, ok := in["replace"].(map[string]any); ok && c.r.Method == http.MethodPatch {
		in = nested
	}
	s.sessionMu.Lock()
	defer s.sessionMu.Unlock()
	password := str(in, "password")
	if password != "" && str(in, "old_password") != s.account(c.user).password {
		return refuse(http.StatusBadRequest, "Invalid old password").answer()
	}
	if err := s.Edit("user", adminTenant, c.user, func(m map[string]any) {
		for _, k := range []string{"password", "full_name", "email"} {
			if v := in[k]; v != nil && v != "" {
				m[k] = v
			}
		}
	}); err != nil {
		return refuse(http.StatusBadRequest, "%v", err).answer()
	}
	if password != "" {
		for id, x := range s.sessions {
			x.swapped = x.swapped || x.user == c.user && id != c.session
		}
	}
	return &answer{status: http.StatusOK}
}

func (s *Server) ownAccount(c *call) map[string]any {
	s.mu.RLock()
	defer s.mu.RUnlock()
	o := s.user(c.user)
	if o == nil { // deleted since it was authenticated
		return map[string]any{}
	}
	return c.renderer(false).object(o)
}

// ExpireSessions ends all sessions: the next request of each client is answered with 401.
func (s *Server) ExpireSessions() {
	s.sessionMu.Lock()
	defer s.sessionMu.Unlock()
	clear(s.sessions)
}

// SetPassword changes the password of a user, who is made a superuser if there is none of the name, and ends the user's sessions.
func (s *Server) SetPassword(username, password string) {
	change := func(m map[string]any) { m["password"] = password }
	if s.Edit("user", adminTenant, username, change) != nil {
		// A user has no references that could be missing, and its name is free: there is no error to report.
		_, _ = s.Create("user", adminTenant, map[string]any{"name": username, "password": password, "is_superuser": true})
	}
	s.sessionMu.Lock()
	defer s.sessionMu.Unlock()
	for id, x := range s.sessions {
		if x.user == username {
			delete(s.sessions, id)
		}
	}
}

// LockAccount locks a user out for a time, as too many failed logins do, or lets it in again with 0.
func (s *Server) LockAccount(username string, d time.Duration) {
	s.sessionMu.Lock()
	defer s.sessionMu.Unlock()
	s.failures[username] = failures{locked: s.now().Add(d)}
}

// SetStrictLogin makes a login fail that brings a csrftoken cookie and no matching header, as some releases do.
func (s *Server) SetStrictLogin(on bool) { s.strictLogin.Store(on) }

// Sessions returns the number of live sessions, so that a test can see a login stampede.
func (s *Server) Sessions() int {
	s.sessionMu.Lock()
	defer s.sessionMu.Unlock()
	return len(s.sessions)
}
