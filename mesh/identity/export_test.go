package identity

import (
	"bytes"
	"testing"
)

// A CA that was kept and loaded again is the same CA: it has the same root, and who
// trusts the root trusts what the second one signs.
func TestAuthorityIsKept(t *testing.T) {
	first, err := NewCA(CAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	kept, err := first.Authority()
	if err != nil {
		t.Fatal(err)
	}
	second, err := NewCA(CAOptions{Authority: kept})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.RootPEM(), second.RootPEM()) {
		t.Error("the roots differ")
	}
	cert, err := second.Issue(ID{DefaultTrustDomain, "default", "reviews"})
	if err != nil {
		t.Fatal(err)
	}
	if err := cert.Leaf.CheckSignatureFrom(first.signer().cert); err != nil {
		t.Error(err)
	}
}
