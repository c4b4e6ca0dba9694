// Package page makes one web page of data: a file that needs no network, no server and no other
// file. The page's own script draws it; what the data holds is text to it, never markup.
package page

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
)

//go:embed page.html
var markup string

//go:embed page.css
var style string

//go:embed page.js
var script string

var parsed = template.Must(template.New("page").Parse(markup))

// Write writes the page. data becomes JSON, in which nothing ends the script that it stands in. The
// page's policy lets it run its own script, and load nothing.
func Write(w io.Writer, title string, data any) error {
	return parsed.Execute(w, map[string]any{
		"Title": title, "Data": data, "Style": template.CSS(style), "Script": template.JS(script),
		"Policy": fmt.Sprintf("default-src 'none'; script-src '%s'; style-src '%s'; base-uri 'none'; form-action 'none'", digest(script), digest(style)),
	})
}

// digest is how a policy names a script or style.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}
