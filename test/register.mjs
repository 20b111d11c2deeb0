import 'tsx'

// Set by .taprc for tap alone, which by now has read it; the programs that tests start shall not see it.
delete process.env.TAP_TYPE_STRIP_ONLY
