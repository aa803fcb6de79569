// Package chromium opens pages in Chromium for tests, and hears what they complain of.
// It is built with the tag browser (`make browser`), and imports nothing of ours.
package chromium
