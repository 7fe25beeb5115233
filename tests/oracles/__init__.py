"""What each loss should be, written straight from the formulas and knowing nothing of the
package.
"""
