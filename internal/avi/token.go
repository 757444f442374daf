// SPDX-License-Identifier: Apache-2.0

package avi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

const (
	userToken = model.Kind("user-token")
	// tokenLife is how long a token that the client makes is good, and tokenRenewal how much of that remains when another one is made: five
	// days are time enough to fix what keeps the token from being renewed. Both values are AKO's.
	tokenLife    = 240 * time.Hour
	tokenRenewal = tokenLife / 2
)

// token is what an endpoint logs in with that is configured with a user token. Tokens expire; sessions that were opened with one
// live on, but no login follows them.
type token struct {
	mu      sync.Mutex
	given   string    // the configured one
	expires time.Time // of the given one, zero where the Controller doesn't say
	own     string    // made by the client, "" if none was
	ownID   string
	ownEnds time.Time
	refused []string // tokens that a login failed with, while another or the password was taken
}

// Token describes the user token that a client logs in with.
type Token struct {
	// Configured reports whether there is one. Else the client uses a password and the rest is zero.
	Configured bool
	// Expires is when the configured token expires, zero if the Controller doesn't say.
	Expires time.Time
	// Own is when the token expires that the client has made to go on after the configured one, zero if it has made none. The client
	// keeps it in memory only.
	Own time.Time
	// Password reports whether a login without any good token is possible.
	Password bool
}

// OwnToken is the configured token with the one that the client has made to go on after it; own is empty if there is none, or if it is
// kept elsewhere already (TokenKept).
func (c *Client) OwnToken() (given, own string) {
	t := c.ep.Load().token
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ownID == "" {
		return t.given, ""
	}
	return t.given, t.own
}

// TokenKept notes that a token which the client made is kept elsewhere by now, so that the client must not revoke it.
func (c *Client) TokenKept(own string) {
	t := c.ep.Load().token
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.own == own {
		t.ownID = ""
	}
}

// KeepToken looks after the user token of the configuration. When less than five days of it remain, or where the Controller doesn't
// say how much, it has the Controller make another one for ten days, uses that for logins from then on, and revokes
// the one that it made before. Call it now and then; it is cheap.
func (c *Client) KeepToken(ctx context.Context) (Token, error) {
	ep := c.ep.Load()
	if ep.cfg.AuthToken == "" {
		return Token{}, nil
	}
	now := ep.now()
	if err := ep.token.learn(ctx, c); err != nil {
		return ep.token.status(ep.cfg), fmt.Errorf("asking the Controller for the token's expiry: %w", err)
	}
	if ep.token.ends().Sub(now) >= tokenRenewal {
		return ep.token.status(ep.cfg), nil
	}
	old, err := ep.token.renew(ctx, c, now)
	if err != nil {
		return ep.token.status(ep.cfg), fmt.Errorf("making another token: %w", err)
	}
	if old != "" {
		// Of no use any more, and harmless if it can't be revoked: it expires.
		_ = c.Delete(ctx, userToken, "", old)
	}
	return ep.token.status(ep.cfg), nil
}

// userTokens is what the Controller says of a user token.
type userTokens struct {
	UUID    string `json:"uuid"`
	Token   string `json:"token"`
	Expires string `json:"expires_at"`
}

// learn finds out when the given token expires: the list of the user's tokens has it by its value.
func (t *token) learn(ctx context.Context, c *Client) error {
	t.mu.Lock()
	known := !t.expires.IsZero() || t.own != ""
	t.mu.Unlock()
	if known {
		return nil
	}
	raw, err := c.Get(ctx, "", "/api/"+string(userToken), nil)
	if err != nil {
		return err
	}
	var page struct {
		Results []userTokens `json:"results"`
	}
	if err := json.Unmarshal(raw, &page); err != nil {
		return fmt.Errorf("the list of tokens: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range page.Results {
		if r.Token == t.given {
			t.expires = timeOf(r.Expires)
		}
	}
	return nil
}

// renew makes a token, and returns the id of the one that it takes the place of, if that was made here too.
func (t *token) renew(ctx context.Context, c *Client, now time.Time) (old string, err error) {
	raw, err := c.Create(ctx, userToken, "", map[string]string{"hours": strconv.Itoa(int(tokenLife.Hours()))})
	if err != nil {
		return "", err
	}
	var made userTokens
	if err := json.Unmarshal(raw, &made); err != nil || made.Token == "" {
		return "", &Error{Method: http.MethodPost, Route: "/api/" + string(userToken), Message: "the answer holds no token", Class: Transient, Reason: ReasonBadAnswer}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	old = t.ownID
	t.own, t.ownID, t.ownEnds = made.Token, made.UUID, timeOf(made.Expires)
	if t.ownEnds.IsZero() {
		t.ownEnds = now.Add(tokenLife)
	}
	return old, nil
}

// ends is when the token in use expires, zero if that isn't known.
func (t *token) ends() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.own != "" {
		return t.ownEnds
	}
	return t.expires
}

func (t *token) status(cfg Config) Token {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Token{Configured: true, Expires: t.expires, Own: t.ownEnds, Password: cfg.Password != ""}
}

// inherit takes over what another configuration has learnt of the same token.
func (t *token) inherit(old *token) {
	old.mu.Lock()
	defer old.mu.Unlock()
	t.expires, t.own, t.ownID, t.ownEnds = old.expires, old.own, old.ownID, old.ownEnds
}

// values are the tokens, the one in use first.
func (t *token) values() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.DeleteFunc([]string{t.own, t.given}, func(s string) bool { return s == "" })
}

// mine is the id of the token that was made here, "" if none was.
func (t *token) mine() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ownID
}

// logins are the bodies of logins to try one after the other, each for when the Controller refuses those before: with the tokens,
// but those that it has refused already, and with the password. made is the one that an AviSession made.
func (t *token) logins(cfg Config, made []byte) (bodies [][]byte, tokens []string) {
	if cfg.AuthToken == "" {
		return [][]byte{made}, []string{""}
	}
	body := func(key, secret string) {
		b, err := json.Marshal(map[string]string{"username": cfg.Username, key: secret})
		if err == nil { // a map of strings always can be
			bodies = append(bodies, b)
		}
	}
	values := t.values()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, v := range values {
		if cfg.Password == "" && len(values) == 1 || !slices.Contains(t.refused, v) {
			body("token", v)
			tokens = append(tokens, v)
		}
	}
	if cfg.Password != "" {
		body("password", cfg.Password)
		tokens = append(tokens, "")
	}
	return bodies, tokens
}

// settle notes which tokens were refused before a login was accepted. If none was, all count as untried.
func (t *token) settle(refused []string, accepted bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !accepted {
		t.refused = nil
		return
	}
	t.refused = append(t.refused, refused...)
	if slices.Contains(t.refused, t.own) {
		t.own, t.ownID, t.ownEnds = "", "", time.Time{} // revoked by somebody: the next KeepToken makes another one
	}
}

// forms of times that Controllers write; without a zone it is UTC.
var timeForms = []string{
	time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999-07:00", "2006-01-02 15:04:05.999999999",
}

// timeOf reads a time of the Controller, zero if it is none.
func timeOf(text string) time.Time {
	for _, form := range timeForms {
		if at, err := time.Parse(form, text); err == nil {
			return at
		}
	}
	return time.Time{}
}
