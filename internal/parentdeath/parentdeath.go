// Package parentdeath ends a process when the one that started it ends. The go
// command and mage pass no SIGTERM on to the programs that they run: without
// this, a cancelled CI job would leave its target at work.
package parentdeath
