# Exact Bayesian posteriors at the XSPEC prompt: `sixsa ...`, and `method sixsa` followed by `fit`.
#
# XSPEC's own commands do what they did: `method` only looks whether its first word is sixsa, and `fit` is ours only
# as long as that method is chosen. The computing is done by a child process (child.tcl) in a copy of the session that
# session.tcl takes; what comes back is put into XSPEC, and into the array ::sixsa::result.

package require Tcl 8.5
package provide sixsa 0.1.0

namespace eval ::sixsa {
    variable home [file dirname [file normalize [info script]]]
    # prior words by parameter (3, bkg:3)
    variable priors
    if {![array exists priors]} {array set priors {}}
    # what the last run or load gave
    variable result
    if {![array exists result]} {array set result {}}
    # what the last check found
    variable check
    if {![array exists check]} {array set check {}}
    # what the last start found
    variable start
    if {![array exists start]} {array set start {}}
    # 1 while `method sixsa` is chosen, and its words: effective samples, seed
    variable chosen
    if {![info exists chosen]} {set chosen 0}
    variable words
    if {![info exists words]} {set words {}}
    variable kinds {
        uniform {low high}  loguniform {low high}  normal {mean sd ?low? ?high?}  lognormal {mean sd ?low? ?high?}
        exponential {scale ?low? ?high?}
    }
    # `bayes` has other names for some
    variable aliases {jeffreys loguniform gauss normal gaussian normal exp exponential}
    # Commands about finished runs: what is typed, what it does. The shell has the same; xspec_sixsa/interfaces/commands.py reads
    # their words, and what they find goes to arrays of their names: ::sixsa::flux(median) ...
    variable finished {
        compare   {"<dir> ?options?"           "run other methods (-with {bxa mcmc}) on the same problem; do they agree?"}
        rank      {"<dir> <dir> ..."           "models of the same data by evidence and predictive score"}
        diagnose  {"<dir>"                     "does the model describe the data?"}
        calibrate {"<dir> -output <dir>"       "is the method right on spectra like these? Takes long (-n 200)"}
        survey    {"<list.toml> -output <dir>" "fit each spectrum of a list with this session's model and the priors set here"}
        flux      {"<dir> <low> <high>"        "posterior of the flux between two energies, keV; -unabsorbed"}
        lumin     {"<dir> <low> <high> -z Z"   "posterior of the luminosity in a rest-frame band, keV"}
        eqwidth   {"<dir> <component>"         "posterior of a component's equivalent width"}
        plot      {"<dir>"                     "draw the pictures in <dir> again; -format png, pdf or svg"}
        report    {"<dir>"                     "write <dir>/report.html, one page with everything"}
        cite      {"?<dir>?"                   "what to cite; -bibtex"}
    }
}

source [file join $::sixsa::home session.tcl]
source [file join $::sixsa::home child.tcl]

proc sixsa args {
    set word [lindex $args 0]
    switch -exact -- $word {
        "" - ? - -h - help {return [::sixsa::usage]}
        prior - check - start - run - info - load {set command [list ::sixsa::do_$word {*}[lrange $args 1 end]]}
        default {
            if {![dict exists $::sixsa::finished $word]} {
                set words [concat prior check start run info load [dict keys $::sixsa::finished]]
                return -code error -errorcode {SIXSA} \
                    "sixsa: there is no `sixsa $word`. Type one of [join $words {, }]; `sixsa ?` explains them."
            }
            set command [list ::sixsa::about_finished {*}$args]
        }
    }
    # A message for the person who typed the command needs no trace through our procedures.
    if {[catch $command answer]} {return -code error -errorcode {SIXSA} "sixsa $word: $answer"}
    return $answer
}

proc ::sixsa::usage {} {
    variable kinds
    variable finished
    puts "Exact Bayesian posterior of the model and data in this session, under its own fit statistic."
    puts ""
    puts "  sixsa prior <par> <kind> <numbers>   prior of a free parameter: 3, or bkg:3 in a named model; kinds:"
    foreach {kind numbers} $kinds {puts "                                         $kind [join $numbers]"}
    puts "  sixsa prior                          list the priors;  sixsa prior <par> clear  takes one back"
    puts "  sixsa check ?<dir>? ?options?        before a fit: do the priors reach the data, how often does the model fail, what"
    puts "                                       will it cost? Pictures go to <dir>. Options: -draws N (200)  -seed N  -workers N"
    puts "  sixsa start ?options?                where XSPEC's fit should begin, by one pass of the spectrum through networks trained"
    puts "                                       here, and the fit from there: sets the parameters. Options: -seed N  -workers N"
    puts "                                       -network DIR (a run of this model, to learn from it)"
    puts "  sixsa run <dir> ?options?            fit; the results go to the folder <dir>. Options:"
    puts "        -ess N (1000)  -seed N  -budget N (20000)  -compressor autoencoder|pca|bands|score|none  -workers N"
    puts "        -estimator npe|lbf|variational (what learns the posterior of compressed spectra)"
    puts "        -dask ADDRESS (a Dask scheduler, whose workers evaluate)  -network DIR (a run of this model, to learn from it)"
    puts "        -training emulated|unfactored|simulated (simulated: on XSPEC's spectra only, in rounds)"
    puts "        -emulator linear|paired (paired: networks, of whole spectra)"
    puts "        -exact draws|control (control: many emulated draws, corrected by a few exact ones)"
    puts "        -clobber (replace the run in <dir>)  -resume (continue it)  -replace (unload chains first)"
    puts "  sixsa info                           show the last result and the priors"
    puts "  sixsa load <dir> ?-replace?          take up an earlier result: best fit, chain, numbers"
    puts "  method sixsa ?ess? ?seed?            then `fit` runs it (folders sixsa_run_1, sixsa_run_2 ...)"
    puts ""
    puts "About finished runs, by their folders; `sixsa flux ?` and so on list all options:"
    dict for {name line} $finished {puts [format "  sixsa %-30s %s" "$name [lindex $line 0]" [lindex $line 1]]}
    puts "flux, lumin, eqwidth, calibrate, compare -with and diagnose -compressor evaluate the model in a copy of this"
    puts "session: it must be the run's (@<dir>/session.xcm). The others only read the folders. None changes the session."
    puts "Numbers go to arrays of the commands' names: puts \$::sixsa::flux(median); parray ::sixsa::flux"
    puts ""
    puts "Without a prior a parameter takes its `bayes` prior, or is uniform within its hard limits."
    puts "Afterwards error, flux ... err, eqwidth ... err, margin and plot chain use the posterior, and"
    puts "::sixsa::result holds numbers: (logz) (ess) (status) (median,1) (lo,1) (hi,1) ...: parray ::sixsa::result"
}

# ------------------------------------------------------------------------------------------------------ the commands

proc ::sixsa::do_prior args {
    variable priors
    variable kinds
    variable aliases
    if {![llength $args]} {return [list_priors]}
    lassign $args par kind
    set numbers [lrange $args 2 end]
    if {![regexp {^([A-Za-z]\w*:)?[0-9]+$} $par]} {
        return -code error "$par is no parameter: give its number as `show parameters` has it (3), or model:number (bkg:3)."
    }
    if {$kind eq "clear"} {
        unset -nocomplain priors($par)
        return
    }
    set kind [string tolower $kind]
    if {[dict exists $aliases $kind]} {set kind [dict get $aliases $kind]}
    if {![dict exists $kinds $kind]} {
        return -code error "no kind of prior '$kind'; type one of [join [dict keys $kinds] {, }]."
    }
    set names [dict get $kinds $kind]
    set needed [llength [lsearch -all -not -glob $names {\?*}]]
    if {[llength $numbers] < $needed || [llength $numbers] > [llength $names]} {
        return -code error "$kind takes the numbers [join $names], and there are [llength $numbers]:\
            sixsa prior $par $kind [join $names]"
    }
    foreach number $numbers {
        if {![string is double -strict $number]} {return -code error "$number is no number."}
    }
    check_free $par
    set priors($par) [linsert $numbers 0 $kind]
    return
}

# Type the priors, one a line.
proc ::sixsa::list_priors {} {
    variable priors
    if {![array size priors]} {
        puts "No prior is set: every parameter takes its bayes prior, or is uniform within its hard limits."
    }
    foreach par [lsort -dictionary [array names priors]] {puts "  $par  [join $priors($par)]"}
}

proc ::sixsa::do_check args {
    variable check
    set job [options $args {-draws -seed -workers} {}]
    check_session
    set found [compute check [concat [option_lines $job {-draws draws -seed seed -workers workers}] [prior_lines]]]
    array unset check
    array set check $found
    foreach line [split $check(summary) \n] {puts $line}
    return
}

proc ::sixsa::do_start args {
    variable start
    set job [options $args {-seed -workers -network} {}]
    if {[dict exists $job directory]} {return -code error "it takes no folder, and what is '[dict get $job directory]'?"}
    check_session
    set found [compute start [concat [option_lines $job {-seed seed -workers workers -network network}] [prior_lines]]]
    set complaint [settle $found [dict get $found complaint]]
    array unset start
    array set start $found
    foreach line [split $start(summary) \n] {puts $line}
    if {$complaint ne ""} {puts "Warning: $complaint"}
    return
}

proc ::sixsa::do_run args {
    set job [options $args {-ess -seed -budget -compressor -estimator -training -emulator -exact -workers -dask -network} {-clobber -resume -replace}]
    if {![dict exists $job directory]} {
        return -code error "give a folder for the results, for example: sixsa run run1"
    }
    start $job
}

proc ::sixsa::do_load args {
    set job [options $args {} {-replace}]
    if {![dict exists $job directory]} {
        return -code error "give the folder of an earlier run, for example: sixsa load run1"
    }
    check_session
    check_chains [dict exists $job -replace]
    take_up [compute load [list [list output [file normalize [dict get $job directory]]]]]
    return
}

proc ::sixsa::about_finished {name args} {
    variable priors
    if {$name eq "survey"} {
        # a survey fits: what is typed before it says how
        foreach par [lsort -dictionary [array names priors]] {lappend args -prior "$par [join $priors($par)]"}
    }
    set found [compute $name $args]
    if {![dict exists $found summary]} return
    array unset ::sixsa::$name
    array set ::sixsa::$name $found
    foreach line [split [dict get $found summary] \n] {puts $line}
    return
}

proc ::sixsa::do_info {} {
    variable result
    variable chosen
    variable words
    if {[info exists result(directory)]} {
        foreach line [split $result(summary) \n] {puts $line}
    } else {
        puts "No result yet: type `sixsa run <dir>`, or `method sixsa` and `fit`."
    }
    puts ""
    puts "Priors set here:"
    list_priors
    if {$chosen} {puts "Fitting method: sixsa $words"}
}

# Words of a command as a dictionary: options with a value, flags (1), and one folder.
proc ::sixsa::options {words valued flags} {
    set job {}
    while {[llength $words]} {
        set words [lassign $words word]
        if {$word in $flags} {
            dict set job $word 1
        } elseif {$word in $valued} {
            if {![llength $words]} {return -code error "$word needs a value."}
            set words [lassign $words value]
            if {$word ni {-compressor -estimator -training -emulator -exact -dask -network} && (![string is wideinteger -strict $value] || $value < 0)} {
                return -code error "$word is $value: it must be a whole number."
            }
            dict set job $word $value
        } elseif {[string match -* $word]} {
            return -code error "unknown option $word; there are [join [concat $valued $flags] {, }]."
        } elseif {[dict exists $job directory]} {
            return -code error "one folder only: [dict get $job directory], and what is '$word'?"
        } else {
            dict set job directory $word
        }
    }
    return $job
}

# Folder and options of a command as lines of job.txt.
proc ::sixsa::option_lines {job names} {
    set lines {}
    if {[dict exists $job directory]} {lappend lines [list output [file normalize [dict get $job directory]]]}
    foreach {option name} $names {
        if {[dict exists $job $option]} {lappend lines [list $name [dict get $job $option]]}
    }
    return $lines
}

proc ::sixsa::prior_lines {} {
    variable priors
    set lines {}
    foreach par [lsort -dictionary [array names priors]] {
        lappend lines [list prior {*}[split_name $par] {*}$priors($par)]
    }
    return $lines
}

# Run the fit that `job` describes, and put its result into XSPEC.
proc ::sixsa::start job {
    check_session
    check_chains [dict exists $job -replace]
    set directory [file normalize [dict get $job directory]]
    if {[dict exists $job -clobber] && [dict exists $job -resume]} {
        return -code error "-clobber and -resume contradict each other: replace the old run, or continue it?"
    }
    if {[file isfile $directory]} {return -code error "$directory is a file, not a folder: give another."}
    if {![dict exists $job -clobber] && ![dict exists $job -resume] && [llength [glob -nocomplain $directory/*]]} {
        return -code error \
            "the folder [dict get $job directory] is not empty: -resume continues its run, -clobber replaces it, or give another."
    }
    set lines [option_lines $job {
        -ess target_ess -seed seed -budget budget -compressor compressor -estimator estimator -training training
        -emulator emulator -exact exact -workers workers
        -dask dask -network network
        -clobber clobber -resume resume
    }]
    set found [compute run [concat $lines [prior_lines]]]
    if {[dict exists $found interrupted]} {
        return -code error "interrupted: the session is as it was. What was computed is in $directory;\
            `sixsa run [dict get $job directory] -resume` goes on with it."
    }
    take_up $found
    return
}

# ------------------------------------------------------------------------------------------ the method and its `fit`

proc ::sixsa::method_command args {
    variable chosen
    variable words
    set name [string tolower [lindex $args 0]]
    # XSPEC takes abbreviations; s and si are its simplex.
    if {$name in {six sixs sixsa}} {
        set numbers [lrange $args 1 end]
        if {[catch {check_words $numbers} message]} {
            return -code error -errorcode {SIXSA} "method sixsa: $message"
        }
        set words $numbers
        choose 1
        return
    }
    set code [catch {::sixsa::xspec_method {*}$args} answer options]
    if {$code == 0 && [string match {[a-z]*} $name]} {choose 0}
    return -options $options $answer
}

proc ::sixsa::check_words numbers {
    if {[llength $numbers] > 2} {return -code error "takes at most two numbers: effective samples, seed."}
    foreach number $numbers {
        if {![string is wideinteger -strict $number] || $number < 0} {
            return -code error "'$number' is no whole number: method sixsa ?effective samples? ?seed?"
        }
    }
}

# Put our `fit` in the place of XSPEC's, or take it away again.
proc ::sixsa::choose yes {
    variable chosen
    if {$yes && !$chosen} {
        rename ::fit ::sixsa::xspec_fit
        proc ::fit args {
            set code [catch {::sixsa::fit_command {*}$args} answer options]
            return -options $options $answer
        }
    } elseif {!$yes && $chosen} {
        rename ::fit {}
        rename ::sixsa::xspec_fit ::fit
    }
    set chosen $yes
}

proc ::sixsa::fit_command args {
    variable words
    if {[string match {\?*} [lindex $args 0]]} {return [::sixsa::xspec_fit {*}$args]}
    if {[catch {
        if {[llength $args]} {
            check_words $args
            set words $args
        }
        set number 1
        while {[file exists sixsa_run_$number]} {incr number}
        set job [dict create directory sixsa_run_$number]
        foreach option {-ess -seed} value $words {
            if {$value ne ""} {dict set job $option $value}
        }
        start $job
    } message]} {
        return -code error -errorcode {SIXSA} "fit (method sixsa): $message"
    }
    return
}

# XSPEC's own fit, under whichever name it has now.
proc ::sixsa::native_fit {} {
    variable chosen
    if {$chosen} {::sixsa::xspec_fit} else {::fit}
}

if {[info commands ::sixsa::xspec_method] eq ""} {
    rename ::method ::sixsa::xspec_method
    proc ::method args {
        set code [catch {::sixsa::method_command {*}$args} answer options]
        return -options $options $answer
    }
    ::sixsa::watch
}
