//! Who a node is: instance identity documents that AWS has signed, and the tokens that are given for them.
