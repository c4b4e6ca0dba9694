package s3

import (
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
		return nil, &cutError{fmt.Sprintf("a page of the listing cannot be read after %d bytes", len(body)), err}
	}
	raw := &rawPage{truncated: x.IsTruncated, token: x.Token, count: x.KeyCount, encoding: x.Encoding, prefixes: x.Prefixes}
	for _, c := range x.Contents {
		raw.contents = append(raw.contents, rawObject{c.Key, c.LastModified, c.ETag, c.Size})
	}
	return raw, nil
}

// xmlDeleted is the reply to a batch delete. In quiet mode it names errors
// only.
type xmlDeleted struct {
	XMLName xml.Name                              `xml:"DeleteResult"`
	Errors  []struct{ Key, Code, Message string } `xml:"Error"`
	Deleted []struct {
		Key          string
		DeleteMarker bool
		MarkerID     string `xml:"DeleteMarkerVersionId"`
	}
}

func parseDeleted(body []byte) (*xmlDeleted, error) {
	var x xmlDeleted
	if err := xml.Unmarshal(body, &x); err != nil {
		return nil, &cutError{fmt.Sprintf("the reply to a batch delete cannot be read after %d bytes", len(body)), err}
	}
	return &x, nil
}
