package avisim

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

const (
	sessionLife = 24 * time.Hour       // cookie's Max-Age: recorded
	csrfLife    = 364 * 24 * time.Hour // recorded
	cookieChars = "abcdefghijklmnopqrstuvwxyz0123456789"
)

// session is one login. Sessions, tokens and passwords are guarded by Server.sessionMu, which may be held while Server.mu is
// taken, but not the other way round.
type session struct {
	user    string
	csrf    string
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

// secret makes a cookie value of the recorded form: 32 characters.
func secret() string {
	b := make([]byte, 32)
	rand.Read(b) // never fails
	for i := range b {
		b[i] = cookieChars[int(b[i])%len(cookieChars)]
	}
	return string(b)
}

// login answers POST /login. Evidence: recorded for JSON and for form bodies; the tenant header is ignored.
func (s *Server) login(c *call) *answer {
	if c.r.Method != http.MethodPost {
		return detail(http.StatusMethodNotAllowed, fmt.Sprintf("Method '%s' not allowed.", c.r.Method))
	}
	user, password, tok := credentials(c)
	s.sessionMu.Lock()
	defer s.sessionMu.Unlock()
	want, known := s.passwords[user]
	ok := known && password != "" && password == want || s.redeem(user, password) || s.redeem(user, tok)
	if !ok {
		return refuse(http.StatusUnauthorized, "Invalid credentials").answer()
	}
	id := secret()
	s.sessions[id] = &session{user: user, csrf: secret(), used: s.now()}
	a := reply(http.StatusOK, s.identity(c, user))
	s.cookies(a, id, s.sessions[id].csrf)
	return a
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
func (s *Server) identity(c *call, user string) map[string]any {
	s.mu.RLock()
	defer s.mu.RUnlock()
	r := c.renderer(false)
	var tenants []any
	for _, o := range s.store.shelves["tenant"].ordered {
		tenants = append(tenants, map[string]any{"url": r.url(o.ref), "uuid": o.uuid, "name": o.name, "local": true})
	}
	config := map[string]any{}
	if o := s.store.get(ref{"systemconfiguration", "default"}); o != nil {
		relative := &renderer{store: s.store} // recorded: the copy in the login answer has relative references
		config = relative.object(o)
		delete(config, "name")
	}
	return map[string]any{
		"user_initialized": true,
		"version":          s.build(),
		"user": map[string]any{"uuid": "user-1", "username": user, "name": user, "full_name": "System Administrator", "email": "",
			"local": true, "is_superuser": true, "default_tenant_ref": r.url(ref{"tenant", adminTenant}), "ui_property": "{}"},
		"tenants":             tenants,
		"system_config":       config,
		"controller":          map[string]any{"api_idle_timeout": s.idleSetting()},
		"session_cookie_name": "avi-sessionid",
	}
}

// cookies sets the session's cookies on an answer: on every authenticated one, the CSRF token on login only. Evidence:
// recorded, with their order and attributes.
func (s *Server) cookies(a *answer, id, csrf string) {
	now := s.now()
	if a.header == nil {
		a.header = http.Header{}
	}
	set := func(name, value string, life time.Duration, only string) {
		a.header.Add("Set-Cookie", fmt.Sprintf("%s=%s; expires=%s; %sMax-Age=%d; Path=/; Secure", name, value,
			now.Add(life).UTC().Format("Mon, 02-Jan-2006 15:04:05 GMT"), only, int(life.Seconds())))
	}
	if csrf != "" {
		set("csrftoken", csrf, csrfLife, "")
	}
	set("avi-sessionid", id, sessionLife, "HttpOnly; ")
	set("sessionid", id, sessionLife, "HttpOnly; ")
}

func (s *Server) logout(c *call) *answer {
	s.sessionMu.Lock()
	defer s.sessionMu.Unlock()
	delete(s.sessions, c.session)
	return &answer{status: http.StatusOK, body: []byte("{}")}
}

// authenticate finds the request's session, or the answer that refuses it. Evidence: texts and statuses are recorded; a
// CSRF token that matches its cookie but not the session is refused in a recording.
func (s *Server) authenticate(c *call) *answer {
	safe := c.r.Method == http.MethodGet || c.r.Method == http.MethodHead || c.r.Method == http.MethodOptions
	s.sessionMu.Lock()
	defer s.sessionMu.Unlock()
	now, idle := s.now(), s.idleMinutes()
	var mine *session
	for _, k := range c.r.Cookies() { // a client may send stale cookies of the same name before the valid one
		if k.Name != "sessionid" && k.Name != "avi-sessionid" {
			continue
		}
		x := s.sessions[k.Value]
		if x != nil && idle > 0 && now.Sub(x.used) > time.Duration(idle)*time.Minute {
			delete(s.sessions, k.Value)
			x = nil
		}
		if x != nil {
			mine, c.session = x, k.Value
		}
	}
	sent := c.r.Header.Get("X-CSRFToken")
	if !safe && (sent == "" || mine != nil && sent != mine.csrf) {
		return plain(http.StatusUnauthorized, "CSRF token missing or incorrect.")
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

// idleMinutes is the controller properties' api_idle_timeout; 0 means never.
func (s *Server) idleMinutes() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.idleSetting()
}

func (s *Server) idleSetting() int {
	if o := s.store.get(ref{"controllerproperties", "default"}); o != nil {
		return integer(o.body, "api_idle_timeout")
	}
	return 15
}

// userToken serves /api/user-token[/<id>]. Evidence: documented; the answer's keys beside token and expires_at are
// unverified.
func (s *Server) userToken(c *call) *answer {
	s.sessionMu.Lock()
	defer s.sessionMu.Unlock()
	show := func(t token) map[string]any {
		return map[string]any{"uuid": t.id, "username": t.user, "hours": t.hours, "expires_at": t.expires.UTC().Format(time.RFC3339)}
	}
	switch {
	case c.r.Method == http.MethodPost && c.route.uuid == "":
		in, err := decode(c.body)
		if err != nil {
			return refuse(http.StatusBadRequest, "Invalid request body").answer()
		}
		hours, err := strconv.Atoi(text(in["hours"]))
		if err != nil || hours < 0 || hours > 87600 {
			return refuse(http.StatusBadRequest, "Invalid hours").answer()
		}
		t := token{id: "authtoken-" + uuid.NewString(), secret: secret(), user: c.user, hours: hours, single: hours == 0,
			expires: s.now().Add(time.Duration(hours) * time.Hour)}
		s.tokens = append(s.tokens, t)
		out := show(t)
		out["token"] = t.secret
		return reply(http.StatusCreated, out)
	case c.r.Method == http.MethodGet && c.route.uuid == "":
		results := []any{}
		for _, t := range s.tokens {
			results = append(results, show(t))
		}
		return reply(http.StatusOK, map[string]any{"count": len(results), "results": results})
	case c.r.Method == http.MethodDelete && c.route.uuid != "":
		s.tokens = slices.DeleteFunc(s.tokens, func(t token) bool { return t.id == c.route.uuid })
		return &answer{status: http.StatusNoContent}
	}
	return notAllowed(c)
}

// userAccount serves /api/useraccount: a password change, after which the user's other sessions meet 419 and then 401.
// Evidence: documented; the refusal of a wrong old password is unverified.
func (s *Server) userAccount(c *call) *answer {
	s.sessionMu.Lock()
	defer s.sessionMu.Unlock()
	account := map[string]any{"username": c.user, "name": c.user, "full_name": "System Administrator", "local": true}
	switch c.r.Method {
	case http.MethodGet:
		return reply(http.StatusOK, account)
	case http.MethodPut:
		in, err := decode(c.body)
		if err != nil || str(in, "password") == "" || str(in, "old_password") != s.passwords[c.user] {
			return refuse(http.StatusBadRequest, "Invalid old password").answer()
		}
		s.passwords[c.user] = str(in, "password")
		for _, x := range s.sessions {
			x.swapped = x.user == c.user
		}
		return reply(http.StatusOK, account)
	}
	return notAllowed(c)
}

// ExpireSessions ends all sessions: the next request of each client is answered with 401.
func (s *Server) ExpireSessions() {
	s.sessionMu.Lock()
	defer s.sessionMu.Unlock()
	clear(s.sessions)
}

// SetPassword changes, or creates, a user out of band and ends the user's sessions.
func (s *Server) SetPassword(username, password string) {
	s.sessionMu.Lock()
	defer s.sessionMu.Unlock()
	s.passwords[username] = password
	for id, x := range s.sessions {
		if x.user == username {
			delete(s.sessions, id)
		}
	}
}

// Sessions returns the number of live sessions, so that a test can see a login stampede.
func (s *Server) Sessions() int {
	s.sessionMu.Lock()
	defer s.sessionMu.Unlock()
	return len(s.sessions)
}

// masked hides the values of a body that are secret, for the request log.
var masked = []string{"password", "old_password", "token", "secret", "private_key", "csrftoken", "key_passphrase"}

func mask(v any) any {
	switch x := v.(type) {
	case map[string]any:
		for k, e := range x {
			if slices.Contains(masked, strings.ToLower(k)) {
				x[k] = "********"
			} else {
				x[k] = mask(e)
			}
		}
	case []any:
		for i, e := range x {
			x[i] = mask(e)
		}
	}
	return v
}
