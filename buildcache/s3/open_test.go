package s3

import (
	"net/http"
	"testing"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
)

func TestTransportIsTheSDKsButForItsBuffer(t *testing.T) {
	opts := Options{Requests: new(Requests)}
	var c awss3.Options
	opts.client(&c)
	got, want := c.HTTPClient.(*bounded).next.(*counting).next.(*http.Client).Transport.(*http.Transport), awshttp.NewBuildableClient().GetTransport()
	if got.ReadBufferSize != 64<<10 {
		t.Errorf("reads %d bytes at a time", got.ReadBufferSize)
	}
	if got.Proxy == nil || got.DialContext == nil || got.ForceAttemptHTTP2 != want.ForceAttemptHTTP2 || got.MaxConnsPerHost != want.MaxConnsPerHost ||
		got.MaxIdleConns != want.MaxIdleConns || got.IdleConnTimeout != want.IdleConnTimeout || got.TLSHandshakeTimeout != want.TLSHandshakeTimeout ||
		got.ExpectContinueTimeout != want.ExpectContinueTimeout || got.TLSClientConfig.MinVersion != want.TLSClientConfig.MinVersion {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
