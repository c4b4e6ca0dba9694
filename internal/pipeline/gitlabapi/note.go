package gitlabapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// A Note is a text that a merge request has once.
type Note struct {
	Project      string // that the merge request is made to: its number, or path
	MergeRequest int64  // its number in the project
	Marker       string // by which the note is found again, which nobody sees
	Text         string // in Markdown
}

// The bounds of notes.
const (
	maxNotes    = 10_000    // that are looked through
	maxNoteText = 1_000_000 // characters, as GitLab takes them
)

type note struct {
	ID     int64  `json:"id"`
	Body   string `json:"body"`
	System bool   `json:"system"` // what GitLab itself says
	Author struct {
		ID int64 `json:"id"`
	} `json:"author"`
}

// WriteNote makes the note, or changes the one that is there, and returns what it did: created,
// changed or unchanged. Only notes of the token's own user count, of which the first is kept: no
// other person's is touched, whatever it begins with.
//
// A request that makes a note may have arrived though its answer has not. So before each try the
// notes are listed again.
func (c *Client) WriteNote(ctx context.Context, n Note) (did string, err error) {
	body := "<!-- " + n.Marker + " -->\n" + n.Text
	if len([]rune(body)) > maxNoteText {
		return "", fmt.Errorf("a note of %d characters, and GitLab takes %d", len([]rune(body)), maxNoteText)
	}
	var me struct {
		ID int64 `json:"id"`
	}
	if err := c.get(ctx, "user", decode(&me)); err != nil {
		return "", fmt.Errorf("whose token it is: %w", err)
	}
	if me.ID == 0 {
		return "", errors.New("the server does not say whose token it is")
	}
	err = c.again(ctx, func() error {
		did, err = c.writeNote(ctx, n, me.ID, body)
		return err
	})
	return did, err
}

func (c *Client) writeNote(ctx context.Context, n Note, me int64, body string) (did string, err error) {
	notes := fmt.Sprintf("projects/%s/merge_requests/%d/notes", escape(n.Project), n.MergeRequest)
	var all, own []note
	if err := c.pages(ctx, notes+"?sort=asc&order_by=created_at", &all, maxNotes); err != nil {
		return "", &badAnswer{fmt.Errorf("notes of merge request %d: %w", n.MergeRequest, err)} // it was tried often enough
	}
	for _, old := range all {
		if old.Author.ID == me && !old.System && strings.HasPrefix(old.Body, "<!-- "+n.Marker+" -->") {
			own = append(own, old)
		}
	}
	for i := 1; i < len(own); i++ { // two pipelines have made one each at the same time
		if err := c.send(ctx, http.MethodDelete, fmt.Sprintf("%s/%d", notes, own[i].ID), nil); err != nil && !isRefused(err) {
			return "", err
		}
	}
	text, err := json.Marshal(map[string]string{"body": body})
	switch {
	case err != nil:
		return "", err
	case len(own) == 0:
		return "created", c.send(ctx, http.MethodPost, notes, text)
	case strings.TrimSpace(own[0].Body) == strings.TrimSpace(body):
		return "unchanged", nil
	}
	return "changed", c.send(ctx, http.MethodPut, fmt.Sprintf("%s/%d", notes, own[0].ID), text)
}

// send writes once, with the user's token: a job's own may write no notes.
func (c *Client) send(ctx context.Context, method, path string, body []byte) error {
	return c.once(ctx, method, path, "PRIVATE-TOKEN", c.Token, body, func(*http.Response) error { return nil })
}

// decode reads an answer of a known shape.
func decode(into any) func(*http.Response) error {
	return func(r *http.Response) error {
		if err := json.NewDecoder(io.LimitReader(r.Body, maxPage)).Decode(into); err != nil {
			return &badAnswer{fmt.Errorf("the answer is not what it is to be: %w", err)}
		}
		return nil
	}
}
