// Package browser has a test that opens a report in Chromium, as people do: from a
// file, in the dark, on a phone. It is built with the tag browser (`make browser`).
package browser
