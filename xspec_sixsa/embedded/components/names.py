"""Every model name of XSPEC 12.9.1, in the order in which XSPEC resolves abbreviations."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["CONVOLUTIONS", "MIXING", "XSPEC_NAMES", "resolve"]

CONVOLUTIONS = frozenset(
    "cflux clumin cpflux gsmooth ireflect kdblur kdblur2 kerrconv kyconv lsmooth partcov rdblur reflect rfxconv "
    "rgsxsrc simpl thcomp vashift vmshift xilconv zashift zmshift".split()
)
MIXING = frozenset("ascac pileup projct recorn suzpsf xmmpsf".split())

XSPEC_NAMES = tuple(
    """
    agauss apec bapec btapec bbody bbodyrad bexrav bexriv bknpower bkn2pow bmc bremss bvapec bvtapec bvvapec bvvtapec
    c6mekl c6pmekl c6pvmkl c6vmekl carbatm cemekl cevmkl cflow compbb compmag compLS compPS compST comptb compth
    compTT cplinear cutoffpl disk diskir diskbb diskline diskm disko diskpbb diskpn eplogpar eqpair eqtherm equil
    expdec ezdiskbb gaussian gadem gnei grad grbm hatm kerrbb kerrd kerrdisk laor laor2 logpar lorentz meka mekal
    mkcflow nei nlapec npshock nsa nsagrav nsatmos nsmax nsmaxg nsx nteea nthComp optxagn optxagnf pegpwrlw pexmon
    pexrav pexriv plcabs powerlaw posm pshock raymond redge refsch rnei sedov sirf slimbh smaug snapec srcut sresc
    step tapec vapec vbremss vequil vgadem vgnei vmeka vmekal vmcflow vnei vnpshock voigt vpshock vraymond vrnei
    vsedov vtapec vvapec vvgnei vvnei vvnpshock vvpshock vvrnei vvsedov vvtapec zagauss zbbody zbremss zgauss zpowerlw
    absori acisabs constant cabs cyclabs dust edge expabs expfac gabs heilin highecut hrefl ismabs lyman notch pcfabs
    phabs plabs pwab redden smedge spexpcut spline SSS_ice swind1 TBabs TBfeo TBgas TBgrain TBvarabs TBpcf TBrel uvred
    varabs vphabs wabs wndabs xion xscat zbabs zdust zedge zhighect zigm zpcfabs zphabs zxipcf zredden zsmdust zTBabs
    zvarabs zvfeabs zvphabs zwabs zwndabs cflux clumin cpflux gsmooth ireflect kdblur kdblur2 kerrconv lsmooth partcov
    rdblur reflect rfxconv rgsxsrc simpl vashift vmshift xilconv zashift zmshift pileup
""".split()
)


def resolve(name: str, names: Sequence[str] = XSPEC_NAMES) -> str | None:
    """Return the full name an abbreviation stands for in XSPEC (the first in its list to begin so), or None."""
    typed = name.lower()
    if len(typed) < 2:  # XSPEC refuses single letters
        return None
    return next((full for full in names if full.lower().startswith(typed)), None)
