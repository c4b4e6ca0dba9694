package targets

import (
	"bytes"
	"os"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/rogpeppe/go-internal/testscript"
)

// makeKeys makes a pair of OpenPGP keys: mkkeys PUBLIC PRIVATE.
func makeKeys(ts *testscript.TestScript, neg bool, args []string) {
	entity, err := openpgp.NewEntity("Test", "", "test@example.org", nil)
	ts.Check(err)
	for i, kind := range []string{openpgp.PublicKeyType, openpgp.PrivateKeyType} {
		var text bytes.Buffer
		w, err := armor.Encode(&text, kind, nil)
		ts.Check(err)
		if kind == openpgp.PublicKeyType {
			ts.Check(entity.Serialize(w))
		} else {
			ts.Check(entity.SerializePrivate(w, nil))
		}
		ts.Check(w.Close())
		ts.Check(os.WriteFile(ts.MkAbs(args[i]), text.Bytes(), 0o600))
	}
}
