from fastsock._csrc cimport fs_config, fs_policy, uint64_t

cdef int fill_config(fs_config *config, object options, object tuning) except -1
cdef fs_policy policy_of(object name) except *
cdef object policy_name(fs_policy policy)
cdef uint64_t ns_of(object seconds) except? 0
