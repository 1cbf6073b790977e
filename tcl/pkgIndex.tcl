# `package require sixsa` in XSPEC: this folder, or the one above it, must be on auto_path (~/.xspec is).
package ifneeded sixsa 0.1.0 [list source [file join $dir sixsa.tcl]]
