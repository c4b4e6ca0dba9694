package s3

import (
	"bytes"
	"encoding/xml"
	"fmt"
)

// xmlPage is a page for encoding/xml.
type xmlPage struct {
	XMLName     xml.Name `xml:"ListBucketResult"`
	IsTruncated []byte
	Token       []byte `xml:"NextContinuationToken"`
	KeyCount    []byte
	Encoding    []byte `xml:"EncodingType"`
	Contents    []struct{ Key, LastModified, ETag, Size []byte }
	Prefixes    [][]byte `xml:"CommonPrefixes>Prefix"`
}

// parsePage reads any page that is XML.
func parsePage(body []byte) (*rawPage, error) {
	var x xmlPage
	if err := xml.Unmarshal(body, &x); err != nil {
		return nil, &cutError{what: fmt.Sprintf("a page of the listing cannot be read after %d bytes", len(body)), err: err}
	}
	raw := &rawPage{truncated: x.IsTruncated, token: x.Token, count: x.KeyCount, encoding: x.Encoding, prefixes: x.Prefixes}
	for _, c := range x.Contents {
		raw.contents = append(raw.contents, rawObject{c.Key, c.LastModified, c.ETag, c.Size})
	}
	return raw, nil
}

// xmlDeleted is the reply to a batch delete in quiet mode.
type xmlDeleted struct {
	XMLName xml.Name                              `xml:"DeleteResult"`
	Errors  []struct{ Key, Code, Message string } `xml:"Error"`
}

// parseDeleted reads a reply that is asked for errors only. Some servers name
// what was deleted all the same; that is not read if there can be no error
// among it.
func parseDeleted(body []byte) (*xmlDeleted, error) {
	var x xmlDeleted
	if noErrors(body) {
		return &x, nil
	}
	if err := xml.Unmarshal(body, &x); err != nil {
		return nil, &cutError{what: fmt.Sprintf("the reply to a batch delete cannot be read after %d bytes", len(body)), err: err}
	}
	return &x, nil
}

// noErrors says that a reply is whole and cannot hold an error.
func noErrors(body []byte) bool {
	body = bytes.TrimSpace(body)
	if prolog, rest, ok := bytes.Cut(body, []byte("?>")); ok && bytes.HasPrefix(prolog, []byte("<?xml")) {
		body = bytes.TrimSpace(rest)
	}
	return bytes.HasPrefix(body, []byte("<DeleteResult")) && bytes.HasSuffix(body, []byte("</DeleteResult>")) && !bytes.Contains(body, []byte("Error"))
}
