# The Python process that computes: started from the prompt, its lines shown as they come, its answer a dictionary.

# The command that starts Python: what `sixsa install-tcl` wrote down, else python3; SIXSA_PYTHON overrides both.
proc ::sixsa::python {} {
    variable home
    variable python
    variable python_path
    set python python3
    # a checkout: the package lies beside this folder
    set python_path [expr {[file isdirectory [file join $home .. xspec_sixsa]] ? [file normalize $home/..] : ""}]
    if {[file isfile [file join $home config.tcl]]} {source [file join $home config.tcl]}
    if {[info exists ::env(SIXSA_PYTHON)]} {set python $::env(SIXSA_PYTHON)}
    set command [list $python -u -m xspec_sixsa.interfaces.tclside]
    if {$python_path ne ""} {
        set path $python_path
        if {[info exists ::env(PYTHONPATH)]} {append path : $::env(PYTHONPATH)}
        set command [linsert $command 0 /usr/bin/env PYTHONPATH=$path]
    }
    return $command
}

# Run `python -m xspec_sixsa.interfaces.tclside action folder`. Its lines: `say text` is shown, `set key value` is a part of the
# answer, `fail text` is an error.
#
# Ctrl-C reaches the child too, as it is in the terminal's process group: it stops, saves, and says so; XSPEC goes on
# reading up to its last word.
proc ::sixsa::child {action folder} {
    set command [concat [python] [list $action $folder]]
    if {[catch {open |[concat $command {< /dev/null 2>@ stderr}] r} channel]} {
        return -code error "Python could not be started ($channel). Run `sixsa install-tcl` with the Python that has\
            xspec_sixsa, or set env(SIXSA_PYTHON) to it."
    }
    fconfigure $channel -encoding utf-8 -buffering line -translation lf
    set answer {}
    set failure {}
    while {[gets $channel line] >= 0} {
        set rest ""
        regexp {^(\S+) ?(.*)$} $line -> kind rest
        switch -exact -- $kind {
            say {puts $rest; ::tclflush stdout}
            fail {lappend failure $rest}
            set {
                regexp {^(\S+) ?(.*)$} $rest -> key value
                if {[dict exists $answer $key]} {
                    dict append answer $key \n$value
                } else {
                    dict set answer $key $value
                }
            }
        }
    }
    set ended [catch {close $channel} message]
    if {[llength $failure]} {return -code error [join $failure \n]}
    if {[dict exists $answer done]} {return [dict remove $answer done]}
    if {[string match *killed* $message]} {
        return -code error "XSPEC crashed in the copy of the session ($message); this session is as it was. Of a model or\
            gain that crashes for some values only, two or more workers (-workers 2) lose just these."
    }
    return -code error "the Python process ended without an answer ($message). Is [join [python]] right, and does\
        `sixsa doctor` find everything well?"
}

# Have Python do `action`, with these lines as job.txt and a copy of the session where there is one.
proc ::sixsa::compute {action lines} {
    set scratch [scratch_folder]
    set code [catch {
        if {![catch check_session]} {take_copy $scratch}
        write_lines $scratch/job.txt $lines
        child $action $scratch
    } answer]
    file delete -force $scratch
    if {$code} {return -code error $answer}
    return $answer
}
