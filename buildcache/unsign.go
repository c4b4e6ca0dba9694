package buildcache

// Unsign returns the text of a clearsigned message without checking its signature, or the data
// itself where it is not signed. Half a message is ErrFormat.
func Unsign(data []byte) ([]byte, error) { return unsign(data) }
