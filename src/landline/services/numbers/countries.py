"""Names of the countries that numbers are sold in, in English, the one language we have them in."""

NAMES = {
    "AT": "Austria", "AU": "Australia", "BE": "Belgium", "BR": "Brazil", "CA": "Canada", "CH": "Switzerland",
    "CZ": "Czechia", "DE": "Germany", "DK": "Denmark", "ES": "Spain", "FI": "Finland", "FR": "France",
    "GB": "United Kingdom", "GR": "Greece", "HK": "Hong Kong", "HR": "Croatia", "HU": "Hungary", "IE": "Ireland",
    "IN": "India", "IT": "Italy", "JP": "Japan", "KR": "South Korea", "LU": "Luxembourg", "LV": "Latvia",
    "MX": "Mexico", "MY": "Malaysia", "NL": "Netherlands", "NO": "Norway", "NZ": "New Zealand", "PH": "Philippines",
    "PL": "Poland", "PR": "Puerto Rico", "PT": "Portugal", "RO": "Romania", "SE": "Sweden", "SG": "Singapore",
    "SI": "Slovenia", "SK": "Slovakia", "TH": "Thailand", "TR": "Türkiye", "TW": "Taiwan", "US": "United States",
    "ZA": "South Africa",
}  # fmt: skip


def name(code: str) -> str:
    """The country's name; its code where there is none here."""
    return NAMES.get(code, code)
