"""The words from which a first catalogue is made: groceries as a French shop would label them."""

# A thing, and how it comes.
FAMILIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Confiture", ("de fraises", "d’abricots", "de mûres", "de figues", "de châtaignes", "de lait")),
    (
        "Fromage",
        ("de chèvre frais", "de brebis des Pyrénées", "à raclette", "blanc lissé", "bleu d’Auvergne"),
    ),
    ("Yaourt", ("nature", "à la vanille", "au citron", "brassé aux myrtilles", "au lait de brebis")),
    ("Pain", ("de campagne", "complet", "de mie", "aux noix", "au levain", "d’épices au miel")),
    ("Œufs", ("fermiers", "de plein air", "bio calibre moyen", "de poules élevées au sol")),
    ("Jus", ("d’orange", "de pomme trouble", "de raisin", "d’ananas", "multifruits", "de tomate")),
    ("Café", ("moulu", "en grains", "décaféiné", "soluble", "en dosettes", "torréfié à l’ancienne")),
    ("Thé", ("vert à la menthe", "noir", "aux fruits rouges", "blanc", "à la bergamote")),
    ("Chocolat", ("noir 70 %", "au lait", "blanc", "aux noisettes", "à pâtisser", "à la fleur de sel")),
    ("Biscuits", ("sablés au beurre", "à la cuillère", "fourrés à la framboise", "complets", "au sésame")),
    ("Pâtes", ("coquillettes", "spaghettis", "aux œufs frais", "complètes", "tagliatelles", "à lasagnes")),
    ("Riz", ("rond", "long", "basmati", "complet", "de Camargue", "à risotto")),
    ("Huile", ("d’olive vierge extra", "de tournesol", "de colza", "de noix", "de sésame grillé")),
    ("Moutarde", ("forte", "à l’ancienne", "au miel", "à l’estragon", "douce")),
    ("Soupe", ("de légumes", "de potiron", "à l’oignon", "de poisson", "de lentilles corail")),
    ("Terrine", ("de campagne", "de canard", "de sanglier", "aux cèpes", "de légumes")),
    ("Sirop", ("de grenadine", "de menthe", "d’orgeat", "de citron", "de pêche")),
    ("Eau minérale", ("plate", "gazeuse", "aromatisée au citron", "en pack familial")),
    ("Légumes secs", ("lentilles vertes", "pois chiches", "haricots blancs", "pois cassés", "fèves")),
    ("Jambon", ("blanc sans couenne", "cru d’Auvergne", "de Bayonne", "fumé", "à l’os")),
)

SIZES = ("100 g", "125 g", "200 g", "250 g", "370 g", "500 g", "750 g", "1 kg", "x 6", "x 12", "lot de 2")
