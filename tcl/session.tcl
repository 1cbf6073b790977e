# XSPEC's side of the package: is there a session, a faithful copy of it, and the result put into it.

namespace eval ::sixsa {
    # Commands whose effect `save all` leaves out, as they were typed since the package is here: to be replayed before
    # the session is restored, and after.
    variable before
    if {![info exists before]} {set before {}}
    variable after
    if {![info exists after]} {set after {}}
    # `response`, `arf` and `backgrnd` as typed since data were loaded last: where XSPEC cannot use a file it prints so, and
    # keeps the one before.
    variable asked
    if {![info exists asked]} {set asked {}}
    # The chain that is ours, when it is the only one; XSPEC does not tell what is loaded.
    variable own_chain
    if {![info exists own_chain]} {set own_chain ""}
}

# ---------------------------------------------------------------------------------------- what `save all` leaves out

proc ::sixsa::watch {} {
    foreach command {lmod mdefine} {trace add execution ::$command leave [list ::sixsa::record before]}
    foreach command {bayes energies} {trace add execution ::$command leave [list ::sixsa::record after]}
    foreach command {abund xset} {trace add execution ::$command leave ::sixsa::note_abundances}
    foreach command {model addcomp delcomp editmod rmodel} {
        trace add execution ::$command leave ::sixsa::forget_bayes
    }
    foreach command {data response arf backgrnd} {trace add execution ::$command leave ::sixsa::note_file}
    trace add execution ::chain leave ::sixsa::note_chain
}

proc ::sixsa::record {where command code answer operation} {
    variable before
    variable after
    if {$code == 0 && [llength $command] > 1 && [lindex $command 1] ne "?"} {lappend $where $command}
}

# A new model has new parameters, without the `bayes` priors of the old ones.
proc ::sixsa::forget_bayes {command code answer operation} {
    variable after
    if {$code || [llength $command] < 2} return
    set kept {}
    foreach line $after {
        if {[lindex $line 0] ne "bayes" || ![regexp {^([A-Za-z]\w*:)?[0-9]+$} [lindex $line 1]]} {lappend kept $line}
    }
    set after $kept
}

# Once XSPEC 12.9.1 has read `abund file`, `save all` writes it whatever table came after it.
proc ::sixsa::note_abundances {command code answer operation} {
    variable after
    set words [lassign $command name]
    if {[namespace tail $name] eq "xset"} {
        set words [lassign $words key]
        if {[string length $key] < 2 || ![string equal -nocase -length [string length $key] $key abund]} return
    }
    if {$code || ![llength $words] || [lindex $words 0] eq "?"} return
    set after [lsearch -all -inline -not $after "abund *"]
    if {![string equal -nocase [lindex $words 0] file]} {lappend after "abund [lindex $words 0]"}
}

proc ::sixsa::note_file {command code answer operation} {
    variable asked
    set words [lassign $command name]
    # other numbers may mean other spectra now
    if {[namespace tail $name] eq "data"} {set asked {}} else {lappend asked "[namespace tail $name] [join $words]"}
}

# Whatever the user does to chains makes them the user's.
proc ::sixsa::note_chain {command code answer operation} {
    variable own_chain
    if {$code} return
    foreach word {load unload clear run} {
        if {[string match [string tolower [lindex $command 1]]* $word]} {set own_chain ""}
    }
}

# ------------------------------------------------------------------------------------------------- questions to XSPEC

# `tclout`: it sets xspec_tclout where it is called, here, so the user's stays as it was. What XSPEC refuses is empty.
proc ::sixsa::ask args {
    set xspec_tclout ""
    catch {::tclout {*}$args}
    return [string trim $xspec_tclout]
}

# Evaluate a script in the caller with XSPEC silent and asking nothing; both settings are put back.
proc ::sixsa::silently script {
    set chatter [ask chatter]
    set query [ask query]
    ::chatter 0 0
    ::query no
    set code [catch {uplevel 1 $script} answer options]
    ::query $query
    ::chatter {*}$chatter
    if {$code == 1} {return -code error $answer}
    return -options $options $answer
}

proc ::sixsa::check_session {} {
    if {[string trim [silently {ask datasets}]] in {"" 0}} {
        return -code error "there are no data: load data first (data file.pha)."
    }
    if {[silently {ask model}] eq ""} {
        return -code error "there is no model: define one first (model tbabs*powerlaw)."
    }
}

proc ::sixsa::check_chains replace {
    variable own_chain
    if {$replace || $own_chain ne ""} return
    # With no chain there, XSPEC has nothing to say against this; it has no question that is quiet both ways.
    if {[silently {catch {::chain unload 999999}}]} {
        return -code error "a chain is loaded already, and XSPEC would take both for one posterior.\
            Unload it (chain clear), or let it be replaced: sixsa run <dir> -replace."
    }
}

# Model and number of a parameter as the words `bkg 3`; the model's name is {} for the unnamed one.
proc ::sixsa::split_name par {
    if {[regexp {^(.*):(.*)$} $par -> model number]} {return [list $model $number]}
    return [list {} $par]
}

# Refuse a parameter that cannot have a prior.
proc ::sixsa::check_free par {
    if {[silently {ask model}] eq ""} {
        return -code error "there is no model yet: define it first, then its priors."
    }
    lassign [split_name $par] model number
    # a gain is checked by the Python side: tclout does not tell whether it is free
    if {[regexp {^gain[0-9]*$} $model]} return
    set last [silently {ask modpar {*}$model}]
    if {![string is integer -strict $last] || $number < 1 || $number > $last} {
        return -code error "there is no parameter $par. `show parameters` lists them."
    }
    if {[string match T* [silently {ask plink $par}]]} {
        return -code error "parameter $par is linked: give the prior to the parameter it follows, or untie it."
    }
    if {[lindex [silently {ask param $par}] 1] <= 0} {
        return -code error "parameter $par is frozen: thaw it first (thaw $par)."
    }
}

# ------------------------------------------------------------------------------------------------ a copy of the session

proc ::sixsa::scratch_folder {} {
    set base /tmp
    if {[info exists ::env(TMPDIR)] && [file isdirectory $::env(TMPDIR)]} {set base $::env(TMPDIR)}
    set number 0
    while {[file exists [set folder [file join $base sixsa-[pid]-[clock seconds]-$number]]]} {incr number}
    file mkdir $folder
    file attributes $folder -permissions 0700
    return $folder
}

proc ::sixsa::write_lines {path lines} {
    set channel [open $path w]
    fconfigure $channel -encoding utf-8
    foreach line $lines {puts $channel $line}
    close $channel
}

# Save the session in `folder`: session.xcm by XSPEC, before.xcm and after.xcm with what that leaves out, and the
# statistic, by which the copy is recognised; asked.txt with the files that were to be attached.
proc ::sixsa::take_copy folder {
    variable before
    variable after
    variable asked
    silently {
        ::save all [file join $folder session.xcm]
        set weight [list "weight [ask weight]"]
        set statistic [ask stat]
    }
    write_lines $folder/before.xcm $before
    write_lines $folder/after.xcm [concat $weight $after]
    write_lines $folder/asked.txt $asked
    write_lines $folder/statistic.txt [list $statistic]
}

# ------------------------------------------------------------------------------------------------ the result in XSPEC

# Set a parameter; gain:1 is the first response parameter, gain2:1 that of source 2.
proc ::sixsa::set_parameter {par value} {
    if {[regexp {^gain([0-9]*):([0-9]+)$} $par -> source number]} {
        ::rnewpar [expr {$source eq "" ? $number : "$source:$number"}] $value
    } else {
        ::newpar $par $value
    }
}

# Best fit, chain and a valid fit into XSPEC, numbers into ::sixsa::result.
proc ::sixsa::take_up found {
    variable result
    variable own_chain
    set complaint ""
    silently {
        foreach par [dict get $found parameters] {set_parameter $par [dict get $found best,$par]}
        # The chain, then the fit, then nothing: whatever is set after a fit makes XSPEC forget it, and flux err needs it.
        if {[dict get $found chain] ne "" || $own_chain ne ""} {::chain clear}
        if {[dict get $found chain] ne ""} {
            if {[catch {::chain load [dict get $found chain]} message]} {
                set complaint "the chain could not be loaded: $message"
            } else {
                set own_chain [dict get $found chain]
            }
        }
        # where a fit would leave the priors, or end the program, the summary says so
        if {[dict get $found nofit] eq "" && [catch {native_fit} message]} {
            append complaint "XSPEC's own fit from the best point failed, so flux ... err has no fit to stand on. $message"
        }
    }
    array unset result
    array set result $found
    foreach line [split $result(summary) \n] {puts $line}
    if {$result(chain) eq ""} {puts "No chain is loaded: the run gave none."}
    if {$complaint ne ""} {puts "Warning: $complaint"}
}

# A start's parameters into XSPEC, and its own fit from there; why that failed, or nothing. `nofit`: why there is to be none.
proc ::sixsa::settle {found nofit} {
    set complaint ""
    silently {
        foreach par [dict get $found parameters] {set_parameter $par [dict get $found best,$par]}
        if {$nofit eq "" && [catch {native_fit} message]} {
            set complaint "XSPEC's own fit from there failed: its parameters are set, without a valid fit. $message"
        }
    }
    return $complaint
}
